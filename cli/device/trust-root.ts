import { readFileSync, statSync } from 'node:fs'
import { LIMITS } from '../../contract/limits.ts'
import { DIRECTOR_FIELD } from '../../contract/repository-target.ts'
import { parseRoot, verifyBy } from '../../release/tuf-document.ts'
import { CommandFailure, fileFailure } from '../failure.ts'

/** Reads the root that a device is to start from, whatever the file is called: any root of the repository, usually the first.
 *  @returns its bytes as they are
 */
export function readTrustRoot(path: string): Uint8Array {
  let bytes: Uint8Array
  try {
    if (statSync(path).size > LIMITS.metadataFileBytes) throw new CommandFailure(`${path} is too large for a root`)
    bytes = new Uint8Array(readFileSync(path))
  } catch (cause) {
    throw cause instanceof CommandFailure ? cause : fileFailure(path, cause)
  }
  const hint = 'expected metadata/1.root.json from the folder of the image repository ("kinglet keys init" makes it)'
  const root = parseRoot(bytes)
  if (!root.ok) throw new CommandFailure(`${path}: ${root.error.detail}`, { hint })
  const signed = verifyBy(root.value, 'root', root.value)
  if (!signed.ok) throw new CommandFailure(`${path}: ${signed.error.detail}`, { hint })
  if (root.value.content[DIRECTOR_FIELD] === undefined) {
    throw new CommandFailure(`${path} names no director, so the device would follow nobody`, {
      hint: '"kinglet keys director" makes a root that names one',
    })
  }
  return bytes
}
