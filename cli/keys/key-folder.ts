import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import nacl from 'tweetnacl'
import * as z from 'zod'
import { bytesToHex } from '../../contract/bytes.ts'
import { SHA256_PATTERN } from '../../contract/fields.ts'
import { isDelegatedRoleName } from '../../contract/metadata-file.ts'
import { present } from '../../contract/present.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { makeFolderDurably, writeFileDurably } from '../../platform/durable-file.ts'
import { tufKeyId } from '../../release/tuf-document.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { firstIssue, readJsonFile } from '../json-file.ts'
import { keepToOwner } from '../secret-file.ts'
import { openSecret, SCRYPT_COST, type ScryptCost, sealedSchema, sealSecret } from './key-seal.ts'
import type { Passphrase } from './passphrase.ts'
import { type Signer, seedSigner } from './signer.ts'
import { execPublicKey, execSigner } from './signer-exec.ts'

const hex32 = z.string().regex(SHA256_PATTERN)
const roleName = z.string().refine(isOfflineRole, 'is no offline role')

/** A key file: public part in the clear, the secret sealed, or a command that signs in its place. */
const keyFileSchema = z
  .strictObject({
    v: z.literal(1),
    role: roleName,
    keyId: hex32,
    publicKey: hex32,
    secret: sealedSchema.optional(),
    exec: z.string().min(1).max(1_024).optional(),
  })
  .refine(({ secret, exec }) => (secret === undefined) !== (exec === undefined), 'holds neither secret nor command')
  .refine(({ keyId, publicKey }) => keyId === tufKeyId(publicKey), 'keyId is not the key´s')
type KeyFile = z.infer<typeof keyFileSchema>

/** What others need to trust a key: `keys make` writes it beside the key file. */
const publicFileSchema = z
  .object({ role: roleName.optional(), keyId: hex32.optional(), publicKey: hex32 })
  .refine(({ keyId, publicKey }) => keyId === undefined || keyId === tufKeyId(publicKey), 'keyId is not the key´s')

export interface FolderKey {
  readonly role: string
  readonly keyId: string
  readonly publicKey: string
  readonly path: string
  /** "file" or the command */
  readonly held: string
}

/** chosen: a key file is about 700 bytes */
const KEY_FILE_BYTES_MAX = 8_192
/** chosen: no operator has more */
const FILES_MAX = 1_000

/** root, targets, or a model family: roles whose keys never are on a server. */
export function isOfflineRole(role: string): boolean {
  return role === 'root' || role === 'targets' || isDelegatedRoleName(role)
}

/** A folder of offline keys. Nothing in it is ever overwritten. */
export class KeyFolder {
  readonly path: string
  readonly #random: SecureRandom
  readonly #passphrase: Passphrase
  readonly #cost: ScryptCost
  readonly #open = new Map<string, Signer>()
  /** files of the keys made since the folder was opened */
  readonly #made: string[] = []

  /** @param cost of new key files; tests take less */
  constructor(path: string, passphrase: Passphrase, random: SecureRandom, cost: ScryptCost = SCRYPT_COST) {
    this.#cost = cost
    this.path = path
    this.#passphrase = passphrase
    this.#random = random
  }

  list(): readonly FolderKey[] {
    if (!existsSync(this.path)) return []
    let names: string[]
    try {
      names = readdirSync(this.path).filter((name) => name.endsWith('.key'))
    } catch (cause) {
      throw fileFailure(this.path, cause)
    }
    if (names.length > FILES_MAX) throw new CommandFailure(`${this.path} has more than ${FILES_MAX} keys`)
    return names.sort().map((name) => {
      const path = join(this.path, name)
      const { role, keyId, publicKey, exec } = readKeyFile(path)
      return { role, keyId, publicKey, path, held: exec ?? 'file' }
    })
  }

  /** Makes a key and seals it. */
  async make(role: string): Promise<FolderKey> {
    const passphrase = await this.#passphrase.read(true)
    const seed = this.#random.bytes(32)
    const publicKey = bytesToHex(nacl.sign.keyPair.fromSeed(Uint8Array.from(seed)).publicKey)
    const secret = await sealSecret(seed, passphrase, this.#random, this.#cost)
    const key = this.#write({ v: 1, role, keyId: tufKeyId(publicKey), publicKey, secret })
    this.#open.set(key.keyId, seedSigner(Uint8Array.from(seed)))
    this.#made.push(key.path, key.path.replace(/\.key$/, '.pub.json'))
    return key
  }

  /** Takes the keys away that were made since the folder was opened: nobody has heard of them. */
  unmake(): void {
    for (const path of this.#made.splice(0)) rmSync(path, { force: true })
    this.#open.clear()
  }

  /** Adds a key that a command signs for. It signs once, so that what does not work is found now. */
  async addExec(role: string, command: string): Promise<FolderKey> {
    const publicKey = await execPublicKey(command)
    const signer = execSigner(command, publicKey)
    await signer.sign(new TextEncoder().encode(`kinglet: trial signature of ${role}`))
    return this.#write({ v: 1, role, keyId: tufKeyId(publicKey), publicKey, exec: command })
  }

  /** @returns undefined when the key is not in this folder */
  async signer(keyId: string): Promise<Signer | undefined> {
    const opened = this.#open.get(keyId)
    if (opened !== undefined) return opened
    const key = this.list().find((candidate) => candidate.keyId === keyId)
    if (key === undefined) return undefined
    const { secret, exec, publicKey } = readKeyFile(key.path)
    let signer: Signer
    if (secret === undefined) signer = execSigner(present(exec, 'the command of a key without a secret'), publicKey)
    else {
      const seed = await openSecret(secret, await this.#passphrase.read(false))
      if (seed === undefined) {
        throw new CommandFailure(`${key.path}: wrong passphrase, or the file was changed`, {
          hint: 'there is no way around a lost passphrase: revoke the key with the others ("kinglet keys revoke")',
        })
      }
      signer = seedSigner(seed)
      if (signer.publicKey !== publicKey)
        throw new CommandFailure(`${key.path}: secret and public key do not belong together`)
    }
    this.#open.set(keyId, signer)
    return signer
  }

  #write(file: KeyFile): FolderKey {
    const stem = join(this.path, `${file.role}-${file.keyId.slice(0, 16)}`)
    const path = `${stem}.key`
    const { role, keyId, publicKey } = file
    // The name holds the key's id: who makes it in this very moment makes the same key.
    if (existsSync(path) || existsSync(`${stem}.pub.json`)) {
      throw new CommandFailure(`${stem} exists; a key is never overwritten`)
    }
    try {
      // Durable before it is returned: a root that names a key which a power cut took away could never be followed by another.
      makeFolderDurably(this.path, 0o700)
      writeFileDurably(path, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 })
      try {
        const text = `${JSON.stringify({ role, keyId, publicKey }, null, 2)}\n`
        writeFileDurably(`${stem}.pub.json`, text, { mode: 0o644 })
      } catch (cause) {
        // Half a pair, made a moment ago and known to nobody.
        rmSync(path, { force: true })
        throw cause
      }
    } catch (cause) {
      throw fileFailure(path, cause)
    }
    return { role, keyId, publicKey, path, held: file.exec ?? 'file' }
  }
}

function readKeyFile(path: string): KeyFile {
  let json: unknown
  try {
    if (statSync(path).size > KEY_FILE_BYTES_MAX) throw new CommandFailure(`${path} is too large for a key file`)
    json = JSON.parse(readFileSync(path, 'utf8'))
    keepToOwner(path)
  } catch (cause) {
    if (cause instanceof CommandFailure) throw cause
    if (cause instanceof SyntaxError) throw new CommandFailure(`${path} is no key file, or is damaged: not JSON`)
    throw fileFailure(path, cause)
  }
  const parsed = keyFileSchema.safeParse(json)
  if (parsed.success) return parsed.data
  throw new CommandFailure(`${path} is no key file, or is damaged: ${firstIssue(parsed.error)}`, {
    hint: 'restore it from a backup, or revoke the key',
  })
}

/** Reads a public key: FILE.pub.json of `keys make`, online.pub.json of a cloud, or the answer of its GET /v1/keys. */
export function readPublicKeyFile(path: string): string {
  const json = readJsonFile(path)
  const online = (json as { online?: unknown } | null)?.online
  const parsed = publicFileSchema.safeParse(online ?? json)
  if (parsed.success) return parsed.data.publicKey
  throw new CommandFailure(`${path}: ${firstIssue(parsed.error)}`, {
    hint: 'expected a .pub.json of "kinglet keys make", or keys/online.pub.json from the data folder of the cloud',
  })
}
