import { dirname, join } from 'node:path'
import * as z from 'zod'
import { hexToBytes } from '../../contract/bytes.ts'
import { SHA256_PATTERN } from '../../contract/fields.ts'
import { keyIdOf, type PublicKey } from '../../contract/signed.ts'
import { CommandFailure } from '../failure.ts'
import { firstIssue, readJsonFile } from '../json-file.ts'
import { readPublicKeyFile } from './key-folder.ts'

/** The public keys of a cloud that a root names. */
export interface CloudKeys {
  /** signs snapshot and timestamp; hex */
  readonly online: string
  readonly director: PublicKey
}

const hex32 = z.string().regex(SHA256_PATTERN)
const directorSchema = z
  .object({ keyId: hex32, publicKey: hex32 })
  .refine(({ keyId, publicKey }) => keyId === keyIdOf(hexToBytes(publicKey)), 'keyId is not the key´s')

/** Reads both from one place: the answer of the cloud's GET /v1/keys, or online.pub.json with director.pub.json beside it. */
export function readCloudKeys(path: string): CloudKeys {
  const online = readPublicKeyFile(path)
  const both = (readJsonFile(path) as { director?: unknown }).director !== undefined
  return { online, director: readDirectorKeyFile(both ? path : join(dirname(path), 'director.pub.json')) }
}

/** Reads director.pub.json of a cloud, or the answer of its GET /v1/keys. */
export function readDirectorKeyFile(path: string): PublicKey {
  const json = readJsonFile(path)
  const parsed = directorSchema.safeParse((json as { director?: unknown } | null)?.director ?? json)
  if (parsed.success) return parsed.data
  throw new CommandFailure(`${path}: ${firstIssue(parsed.error)}`, {
    hint: 'expected keys/director.pub.json from the data folder of the cloud, or the answer of its GET /v1/keys',
  })
}
