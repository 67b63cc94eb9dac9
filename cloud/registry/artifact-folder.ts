import { createReadStream, existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { bytesToHex, sha256Hex } from '../../contract/bytes.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { isSha256Hex } from '../../contract/fields.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { makeFolderDurably, writeFileDurablyAsync } from '../../platform/durable-file.ts'

/** Content-addressed files: a name is the sha256 of the content, so what is there is right and never changes.
 *  Layout: `<root>/<first two digits>/<sha256>`; uploads are written to `<root>/incoming` and renamed.
 */
export class ArtifactFolder {
  readonly #root: string
  readonly #random: SecureRandom

  constructor(root: string, random: SecureRandom) {
    this.#root = root
    this.#random = random
    const incoming = join(root, 'incoming')
    makeFolderDurably(incoming)
    // What a killed process left half written.
    for (const name of readdirSync(incoming)) rmSync(join(incoming, name))
  }

  #path(sha256: string): string {
    if (!isSha256Hex(sha256)) throw new RangeError('an artifact is named by its sha256')
    return join(this.#root, sha256.slice(0, 2), sha256)
  }

  /** Stores an artifact under its hash; storing it again changes nothing.
   *  @returns `too-large` | `hash-mismatch`
   */
  async put(sha256: string, data: Uint8Array): Promise<Result<{ created: boolean }, ContractError>> {
    if (data.length > LIMITS.bundleBytes) {
      return err(contractError('too-large', `artifact of ${data.length} bytes, limit ${LIMITS.bundleBytes}`))
    }
    const actual = sha256Hex(data)
    if (actual !== sha256) return err(contractError('hash-mismatch', `the content has sha256 ${actual}`))
    const path = this.#path(sha256)
    if (existsSync(path)) return ok({ created: false })
    makeFolderDurably(join(this.#root, sha256.slice(0, 2)))
    // Two may upload the same at once.
    const aside = join(this.#root, 'incoming', bytesToHex(this.#random.bytes(8)))
    await writeFileDurablyAsync(path, data, { aside })
    return ok({ created: true })
  }

  /** Size in bytes, or undefined when it is not there. */
  size(sha256: string): number | undefined {
    const path = this.#path(sha256)
    return existsSync(path) ? statSync(path).size : undefined
  }

  read(sha256: string): Uint8Array | undefined {
    const path = this.#path(sha256)
    return existsSync(path) ? new Uint8Array(readFileSync(path)) : undefined
  }

  /** Bytes `start` to `end` inclusive. */
  stream(sha256: string, start: number, end: number): Readable {
    return createReadStream(this.#path(sha256), { start, end })
  }
}
