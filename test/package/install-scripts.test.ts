import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const json = (name: string) => JSON.parse(readFileSync(join(import.meta.dirname, '../..', name), 'utf8'))

/** The script of onnxruntime-node downloads CUDA libraries that nothing here uses, from a host that is not the registry. npm 11 does not run
 *  it because package.json denies it; npm 10 knows no such list and runs what the lock file says has a script. Of development:
 *  esbuild's saves a start of Node at each call of its command, protobufjs's (below onnxruntime-web) looks at version numbers. An update of
 *  one of the three brings the line `hasInstallScript` back: take it out again. */
it('installing runs the scripts of better-sqlite3 and bsdiff-node and no other, with npm 10 and npm 11', () => {
  expect(json('package.json').allowScripts).toEqual({
    'better-sqlite3': true,
    'bsdiff-node': true,
    esbuild: false,
    'onnxruntime-node': false,
    protobufjs: false,
  })
  const { packages } = json('package-lock.json') as { packages: Record<string, { hasInstallScript?: boolean }> }
  const scripted = Object.keys(packages).filter((path) => packages[path]!.hasInstallScript)
  expect(scripted).toEqual(['node_modules/better-sqlite3', 'node_modules/bsdiff-node'])
  // It is compiled on installation, always: who has no compiler has everything but `patch make --format bsdiff`.
  expect(json('package.json').optionalDependencies).toHaveProperty('bsdiff-node')
})
