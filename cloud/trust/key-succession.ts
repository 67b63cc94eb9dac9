import { sign } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import nacl from 'tweetnacl'
import { bytesToHex } from '../../contract/bytes.ts'
import type { SecureRandom } from '../../contract/random.ts'
import type { PublicKey } from '../../contract/signed.ts'
import { renameDurably, writeFileDurably } from '../../platform/durable-file.ts'
import { tufKeyId } from '../../release/tuf-document.ts'
import { createDirector, type Director } from './director.ts'
import { ed25519FromSeed } from './ed25519.ts'
import { loadOrCreateSeed } from './seed-file.ts'

/** A key of the cloud for snapshot and timestamp. Its id is TUF's. */
export interface OnlineKey {
  readonly publicKey: PublicKey
  /** @returns signature, hex */
  sign(bytes: Uint8Array): string
}

/** The cloud's keys for one purpose, in its data folder: the current one, made at the first start, and at most one that is to follow
 *  it as soon as a root names it. `NAME.pub.json` beside the secret is for `kinglet keys init`.
 *  @typeParam Key what is made of a seed
 */
export class KeySuccession<Key extends { readonly publicKey: PublicKey }> {
  readonly #folder: string
  readonly #name: string
  readonly #random: SecureRandom
  readonly #keyOf: (seed: Uint8Array) => Key
  #current: Key
  #next: Key | undefined

  /** @param name of the files: NAME.seed, NAME-next.seed, NAME.pub.json */
  constructor(folder: string, name: string, random: SecureRandom, keyOf: (seed: Uint8Array) => Key) {
    this.#folder = folder
    this.#name = name
    this.#random = random
    this.#keyOf = keyOf
    this.#current = this.#load('')
    this.#writePublic()
    this.#next = existsSync(this.#seedFile('-next')) ? this.#load('-next') : undefined
  }

  get current(): Key {
    return this.#current
  }

  get next(): Key | undefined {
    return this.#next
  }

  /** Makes the key that is to follow, or returns the one that is made already. */
  makeNext(): Key {
    this.#next ??= this.#load('-next')
    return this.#next
  }

  /** @returns the current key or the one to follow it */
  byId(keyId: string): Key | undefined {
    return [this.#current, this.#next].find((key) => key?.publicKey.keyId === keyId)
  }

  /** Takes the key that the root names into use; the former secret is gone then. Safe to repeat after a crash. */
  adopt(keyId: string): void {
    if (this.#next?.publicKey.keyId !== keyId) return
    renameDurably(this.#seedFile('-next'), this.#seedFile(''))
    this.#current = this.#next
    this.#next = undefined
    this.#writePublic()
  }

  #writePublic(): void {
    const text = `${JSON.stringify(this.#current.publicKey, null, 2)}\n`
    writeFileDurably(join(this.#folder, `${this.#name}.pub.json`), text)
  }

  #seedFile(suffix: '' | '-next'): string {
    return join(this.#folder, `${this.#name}${suffix}.seed`)
  }

  #load(suffix: '' | '-next'): Key {
    return this.#keyOf(loadOrCreateSeed(this.#seedFile(suffix), this.#random))
  }
}

/** One key signs snapshot and timestamp. Two would lie in the same folder of the same process and fall together. What it can do
 *  when stolen: withhold releases until the offline roles expire, no more; it can add no target. */
export type OnlineKeys = KeySuccession<OnlineKey>
export const onlineKeys = (folder: string, random: SecureRandom): OnlineKeys =>
  new KeySuccession(folder, 'online', random, (seed) => {
    const key = ed25519FromSeed(seed)
    const publicKey = bytesToHex(nacl.sign.keyPair.fromSeed(seed).publicKey)
    return {
      publicKey: { keyId: tufKeyId(publicKey), publicKey },
      sign: (bytes) => sign(null, bytes, key).toString('hex'),
    }
  })

/** Signs assignments. What it can do when stolen: move devices among released models that they accept, no more. */
export type DirectorKeys = KeySuccession<Director>
export const directorKeys = (folder: string, random: SecureRandom): DirectorKeys =>
  new KeySuccession(folder, 'director', random, createDirector)
