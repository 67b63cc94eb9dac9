import { ftruncateSync, lstatSync, writeSync } from 'node:fs'
import { FileAside } from '../platform/durable-file.ts'
import { tightenSecret } from '../platform/secret-rights.ts'
import { CommandFailure, fileFailure } from './failure.ts'

/** chosen: tokens and claims are below a kilobyte */
const SECRET_BYTES_MAX = 8_192

/** Writes a secret to a new file of mode 0600, and to the medium: nobody can make it a second time. Unlike other output it has no
 *  `--force`: the only copy of a key may be what it replaces. */
export function writeSecretFile(path: string, text: string): void {
  const file = openAside(path)
  try {
    keep(file, path, text)
  } catch (cause) {
    file.discard()
    throw cause
  }
}

/** `writeSecretFile` of what somebody else makes on demand. The file is opened and its room on the disk taken before that, so that what is
 *  made can be kept; when nothing is made, nothing is left.
 *  @param make asked once the file is sure
 *  @returns what it gave */
export async function keepSecret<T>(path: string, make: () => Promise<T>, textOf: (made: T) => string): Promise<T> {
  const file = openAside(path, `${path}.${process.pid}.partial`)
  try {
    told(path, () => file.append(new Uint8Array(SECRET_BYTES_MAX)))
    const made = await make()
    keep(file, path, textOf(made))
    return made
  } catch (cause) {
    file.discard()
    throw cause
  }
}

function openAside(path: string, aside?: string): FileAside {
  assertNew(path)
  return told(path, () => new FileAside(path, { mode: 0o600, ...(aside !== undefined && { aside }) }))
}

/** For a file with a secret that is there: takes from others what rights they have to it, and says so on standard error. */
export function keepToOwner(path: string): void {
  const warning = told(path, () => tightenSecret(path))
  if (warning !== undefined) console.error(`warning: ${warning}`)
}

/** The last call on the file, unless it throws. */
function keep(file: FileAside, path: string, text: string): void {
  const bytes = new TextEncoder().encode(text)
  // Somebody may have made such a file meanwhile.
  assertNew(path)
  told(path, () => {
    for (let done = 0; done < bytes.length; ) done += writeSync(file.fd, bytes, done, bytes.length - done, done)
    ftruncateSync(file.fd, bytes.length)
    file.commit()
  })
  file.close()
}

/** Refuses what is there, a link to nothing too. */
function assertNew(path: string): void {
  if (told(path, () => lstatSync(path, { throwIfNoEntry: false })) === undefined) return
  throw new CommandFailure(`${path} exists; a secret is never overwritten`, { hint: 'choose another file name' })
}

const told = <T>(path: string, act: () => T): T => {
  try {
    return act()
  } catch (cause) {
    throw fileFailure(path, cause)
  }
}
