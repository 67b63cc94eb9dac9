import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Folder of package.json, from the source tree and from dist/ alike: the zoo's files are found from there. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('package.json not found above the command')
    folder = parent
  }
  return folder
}

/** A file of the zoo, for example `zooFile('bundles', 'kws-2.kinglet')`. */
export const zooFile = (...path: string[]): string => join(packageRoot(), 'zoo', ...path)
