import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const HOOKS = `
import { appendFileSync } from 'node:fs'
let log
export function initialize(file) { log = file }
export function load(url, context, next) {
  appendFileSync(log, url + '\\n')
  return next(url, context)
}
`

/** Runs a script and lists what its import statements have loaded, static and dynamic, as URLs (`file:///…`, `node:fs`). What a CommonJS
 *  package requires by itself is not among them; the package is. The script must succeed. */
export async function loadedModules(script: string, args: readonly string[], cwd: string): Promise<readonly string[]> {
  const dir = mkdtempSync(join(tmpdir(), 'kinglet-loaded-'))
  const [log, hooks, register] = ['log', 'hooks.mjs', 'register.mjs'].map((name) => join(dir, name)) as [
    string,
    ...string[],
  ]
  try {
    writeFileSync(log, '')
    writeFileSync(hooks!, HOOKS)
    writeFileSync(
      register!,
      `import { register } from 'node:module'\nregister(${JSON.stringify(`file://${hooks}`)}, { data: ${JSON.stringify(log)} })\n`,
    )
    await promisify(execFile)(process.execPath, ['--import', `file://${register}`, script, ...args], { cwd })
    return readFileSync(log, 'utf8').trim().split('\n')
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Name of the package of a module, undefined for a module of ours or of Node. */
export const packageOf = (url: string): string | undefined => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1]
