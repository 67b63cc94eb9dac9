import { existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

/** Makes a folder and those above it that are missing. Not `mkdirSync` with `recursive`: where the file system has a folder in which none can
 *  be made (below /proc), that of Node 20 tries for ever, in a loop that no signal ends.
 *  @returns the folders that were made, topmost first
 *  @throws what the file system throws: ENOENT where no folder can be made, EEXIST for a file in the way, EACCES, EROFS … */
export function makeFolder(path: string, mode?: number): readonly string[] {
  const missing: string[] = []
  for (let at = resolve(path); !isFolder(at); at = dirname(at)) missing.unshift(at)
  return missing.filter((folder) => {
    try {
      mkdirSync(folder, mode)
      return true
    } catch (cause) {
      // Somebody else has made it meanwhile.
      if ((cause as NodeJS.ErrnoException).code === 'EEXIST' && isFolder(folder)) return false
      throw cause
    }
  })
}

/** False for what is not there; a file is left for `mkdir` to refuse. Not `throwIfNoEntry`: below a file, Node 20 throws all the same. */
const isFolder = (path: string): boolean => path === dirname(path) || (existsSync(path) && statSync(path).isDirectory())
