import { sign } from 'node:crypto'
import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import nacl from 'tweetnacl'
import { bytesToHex } from '../../contract/bytes.ts'
import type { SecureRandom } from '../../contract/random.ts'
import type { PublicKey } from '../../contract/signed.ts'
import { ed25519FromSeed, loadOrCreateSeed } from './director.ts'
import { tufKeyId } from './tuf-document.ts'

/** A key of the cloud for snapshot and timestamp. Its id is TUF's. */
export interface OnlineKey {
  readonly publicKey: PublicKey
  /** @returns signature, hex */
  sign(bytes: Uint8Array): string
}

/** The online keys in the cloud's data folder: the current one, made at the first start, and at most one that is to follow it.
 *
 *  One key signs snapshot and timestamp. Two would lie in the same folder of the same process and fall together. What it can do
 *  when stolen: withhold releases until the offline roles expire, no more; it can add no target.
 */
export class OnlineKeys {
  readonly #folder: string
  readonly #random: SecureRandom
  #current: OnlineKey
  #next: OnlineKey | undefined

  constructor(folder: string, random: SecureRandom) {
    this.#folder = folder
    this.#random = random
    this.#current = this.#load('online.seed')
    this.#writePublic()
    this.#next = existsSync(join(folder, 'online-next.seed')) ? this.#load('online-next.seed') : undefined
  }

  get current(): OnlineKey {
    return this.#current
  }

  get next(): OnlineKey | undefined {
    return this.#next
  }

  /** Makes the key that is to follow, or returns the one that is made already. */
  makeNext(): OnlineKey {
    this.#next ??= this.#load('online-next.seed')
    return this.#next
  }

  byId(keyId: string): OnlineKey | undefined {
    return [this.#current, this.#next].find((key) => key?.publicKey.keyId === keyId)
  }

  /** Takes the key that the root names into use; the former secret is gone then. Safe to repeat after a crash. */
  adopt(keyId: string): void {
    if (this.#next?.publicKey.keyId !== keyId) return
    renameSync(join(this.#folder, 'online-next.seed'), join(this.#folder, 'online.seed'))
    this.#current = this.#next
    this.#next = undefined
    this.#writePublic()
  }

  /** For `kinglet keys init` and `kinglet keys online`. */
  #writePublic(): void {
    const text = `${JSON.stringify(this.#current.publicKey, null, 2)}\n`
    writeFileSync(join(this.#folder, 'online.pub.json'), text)
  }

  #load(name: string): OnlineKey {
    const seed = loadOrCreateSeed(join(this.#folder, name), this.#random)
    const key = ed25519FromSeed(seed)
    const publicKey = bytesToHex(nacl.sign.keyPair.fromSeed(seed).publicKey)
    return {
      publicKey: { keyId: tufKeyId(publicKey), publicKey },
      sign: (bytes) => sign(null, bytes, key).toString('hex'),
    }
  }
}
