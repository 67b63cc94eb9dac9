import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { makeFolder } from './make-folder.ts'

export interface AsideOptions {
  /** of the new file, less the umask; default 0o666 */
  readonly mode?: number
  /** where the file lies until it is whole, on the same file system; default: its path with `.new` behind. What lies there is replaced.
   *  Writers that may meet at one path give each their own. */
  readonly aside?: string
}

/** A file that appears under its name when it is whole and on the medium, and not at all when something fails before. What was under
 *  that name is replaced. Throws what the file system throws. */
export class FileAside {
  readonly #path: string
  readonly #aside: string
  /** open for reading and writing until `close` or `discard` */
  readonly fd: number

  constructor(path: string, { mode, aside = `${path}.new` }: AsideOptions = {}) {
    this.#path = path
    this.#aside = aside
    // Made anew: a leftover may be open to more readers than `mode` lets in.
    rmSync(aside, { force: true })
    this.fd = openSync(aside, 'wx+', mode)
  }

  append(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) done += writeSync(this.fd, bytes, done, bytes.length - done)
  }

  /** Gives the file its name, for good when it returns. */
  commit(): void {
    fsyncSync(this.fd)
    renameDurably(this.#aside, this.#path)
  }

  close(): void {
    closeSync(this.fd)
  }

  /** Takes away what was written, also when `commit` failed. */
  discard(): void {
    closeSync(this.fd)
    rmSync(this.#aside, { force: true })
  }
}

/** Writes a whole file: after a crash at any point there is the old one or the new one, and when this returns, the new one. */
export function writeFileDurably(path: string, content: string | Uint8Array, options: AsideOptions = {}): void {
  const file = new FileAside(path, options)
  try {
    file.append(typeof content === 'string' ? Buffer.from(content) : content)
    file.commit()
  } catch (cause) {
    file.discard()
    throw cause
  }
  file.close()
}

/** `writeFileDurably` for a process that has others to serve while the medium is busy. */
export async function writeFileDurablyAsync(
  path: string,
  content: Uint8Array,
  { mode, aside = `${path}.new` }: AsideOptions = {},
): Promise<void> {
  await rm(aside, { force: true })
  const file = await open(aside, 'wx', mode)
  try {
    await writeThrough(file, content)
    await rename(aside, path)
  } catch (cause) {
    await rm(aside, { force: true })
    throw cause
  }
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync().catch(toleratingFolders)
  } finally {
    await folder.close()
  }
}

async function writeThrough(file: FileHandle, content: Uint8Array): Promise<void> {
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Renames within a file system, for good when it returns. */
export function renameDurably(from: string, to: string): void {
  renameSync(from, to)
  syncFolder(dirname(to))
}

/** Makes a folder and those above it that are missing, for good when it returns: a file in a folder that is gone after a power cut is
 *  gone too. */
export function makeFolderDurably(path: string, mode?: number): void {
  for (const folder of [...makeFolder(path, mode)].reverse()) syncFolder(dirname(folder))
}

/** A name is durable when its folder is. */
function syncFolder(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } catch (cause) {
    toleratingFolders(cause)
  } finally {
    closeSync(fd)
  }
}

/** Some file systems (network, FUSE) have no such operation for folders. They promise nothing more after it either. */
function toleratingFolders(cause: unknown): void {
  const { code } = cause as NodeJS.ErrnoException
  if (code !== 'EINVAL' && code !== 'ENOTSUP' && code !== 'EPERM') throw cause
}
