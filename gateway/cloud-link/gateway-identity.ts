import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import nacl from 'tweetnacl'
import * as z from 'zod/mini'
import { bytesToHex, hexToBytes } from '../../contract/bytes.ts'
import { gatewayEnrolmentMessage, gatewayTokenMessage } from '../../contract/device-proof.ts'
import {
  challengeAnswerSchema,
  type GatewayClaimFile,
  gatewayClaimFileSchema,
  gatewayEnrolmentAnswerSchema,
  tokenAnswerSchema,
} from '../../contract/enrolment.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { hexField, idField } from '../../contract/fields.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { keyIdOf } from '../../contract/signed.ts'
import { writeFileDurably } from '../../platform/durable-file.ts'
import { tightenSecret } from '../../platform/secret-rights.ts'
import type { CloudClient } from './cloud-client.ts'

const FILE = 'identity.json'
/** chosen: a claim of 64 sites with the longest names is half of it */
const FILE_BYTES_MAX = 16_384

const identitySchema = z.strictObject({
  v: z.literal(1),
  gateway: idField,
  /** of its Ed25519 key; a secret */
  seed: hexField(32),
  /** what it enrols with; undefined: the cloud has taken its key */
  claim: z.optional(gatewayClaimFileSchema),
  /** the claim that it was enrolled with, or is to be */
  claimId: hexField(LIMITS.claimIdBytes),
})
type Identity = z.infer<typeof identitySchema>

export interface GrantedToken {
  readonly token: string
  readonly expiresInSeconds: number
}

/** Who a gateway is: its name, and a key that was made in its folder and does not leave it. The key is on the medium before the cloud hears of
 *  it, so that an enrolment may be broken off anywhere and be given again. */
export class GatewayIdentity {
  readonly #path: string
  #identity: Identity

  private constructor(path: string, identity: Identity) {
    this.#path = path
    this.#identity = identity
  }

  /** Reads the identity of a folder, or makes one for a claim.
   *  @param claim one that the folder has used already changes nothing; another one of the same gateway makes a new key
   *  @returns undefined when there is neither
   *  @throws when the folder is another gateway's, or its identity cannot be read or written */
  static open(dataDir: string, claim: GatewayClaimFile | undefined, random: SecureRandom): GatewayIdentity | undefined {
    const path = join(dataDir, FILE)
    const known = existsSync(path) ? readIdentity(path) : undefined
    if (known !== undefined && claim !== undefined && known.gateway !== claim.gateway) {
      throw new Error(
        `${dataDir} is the folder of gateway ${known.gateway}, the claim is for ${claim.gateway}: give each its own`,
      )
    }
    if (claim === undefined || known?.claimId === claim.claim) {
      return known === undefined ? undefined : new GatewayIdentity(path, known)
    }
    const seed = bytesToHex(random.bytes(32))
    const made = new GatewayIdentity(path, { v: 1, gateway: claim.gateway, seed, claim, claimId: claim.claim })
    made.#save()
    return made
  }

  get gateway(): string {
    return this.#identity.gateway
  }

  /** Whoever copied the folder may have let others read the key. @returns what is to be told of it */
  keepToOwner(): string | undefined {
    return existsSync(this.#path) ? tightenSecret(this.#path) : undefined
  }

  /** where it lies */
  get path(): string {
    return this.#path
  }

  /** Asks for a service token with a proof of the key; enrols first where that has not been done.
   *  @returns the cloud's refusal, or `unavailable` */
  async token(cloud: Pick<CloudClient, 'exchange'>): Promise<Result<GrantedToken, ContractError>> {
    const { claim } = this.#identity
    if (claim === undefined) return this.#ask(cloud)
    const enrolled = await this.#enrol(cloud, claim)
    if (!enrolled.ok && enrolled.error.code === 'unavailable') return enrolled
    // What was refused may have been taken before, and the answer lost.
    const granted = await this.#ask(cloud)
    if (!granted.ok) return enrolled.ok ? granted : enrolled
    const { claim: _, ...done } = this.#identity
    this.#identity = done
    this.#save()
    return granted
  }

  async #enrol(
    cloud: Pick<CloudClient, 'exchange'>,
    { claim, secret }: GatewayClaimFile,
  ): Promise<Result<void, ContractError>> {
    const { gateway } = this.#identity
    const challenge = await post(cloud, '/v1/challenges', challengeAnswerSchema, {})
    if (!challenge.ok) return challenge
    const { publicKey, secretKey } = this.#key
    const message = gatewayEnrolmentMessage({ claim, gateway, publicKey, challenge: challenge.value.challenge })
    const claimKey = nacl.sign.keyPair.fromSeed(hexToBytes(secret)).secretKey
    const answer = await post(cloud, `${pathOf(gateway)}/enrolment`, gatewayEnrolmentAnswerSchema, {
      claim,
      publicKey: bytesToHex(publicKey),
      challenge: challenge.value.challenge,
      claimSignature: bytesToHex(nacl.sign.detached(message, claimKey)),
      signature: bytesToHex(nacl.sign.detached(message, secretKey)),
    })
    return answer.ok ? ok(undefined) : answer
  }

  async #ask(cloud: Pick<CloudClient, 'exchange'>): Promise<Result<GrantedToken, ContractError>> {
    const { gateway } = this.#identity
    const challenge = await post(cloud, '/v1/challenges', challengeAnswerSchema, {})
    if (!challenge.ok) return challenge
    const { publicKey, secretKey } = this.#key
    const keyId = keyIdOf(publicKey)
    const message = gatewayTokenMessage(gateway, keyId, challenge.value.challenge)
    return post(cloud, `${pathOf(gateway)}/token`, tokenAnswerSchema, {
      keyId,
      challenge: challenge.value.challenge,
      signature: bytesToHex(nacl.sign.detached(message, secretKey)),
    })
  }

  get #key(): nacl.SignKeyPair {
    return nacl.sign.keyPair.fromSeed(hexToBytes(this.#identity.seed))
  }

  #save(): void {
    writeFileDurably(this.#path, `${JSON.stringify(this.#identity, null, 2)}\n`, { mode: 0o600 })
  }
}

const pathOf = (gateway: string): string => `/v1/gateways/${encodeURIComponent(gateway)}`

function readIdentity(path: string): Identity {
  const text = readFileSync(path, 'utf8')
  try {
    if (text.length > FILE_BYTES_MAX) throw new Error(`it has ${text.length} characters`)
    return identitySchema.parse(JSON.parse(text))
  } catch (cause) {
    throw new Error(
      `${path} is no identity of a gateway: move it away, and enrol the gateway anew with "kinglet gateway claim --replace"`,
      { cause },
    )
  }
}

async function post<Schema extends z.ZodMiniType>(
  cloud: Pick<CloudClient, 'exchange'>,
  path: string,
  schema: Schema,
  body: object,
): Promise<Result<z.infer<Schema>, ContractError>> {
  const answer = await cloud.exchange(path, Buffer.from(JSON.stringify(body)), LIMITS.identityBytes)
  if (!answer.ok) return answer
  const parsed = schema.safeParse(answer.value)
  return parsed.success ? ok(parsed.data) : err(contractError('unavailable', `${path}: the answer is not the cloud's`))
}
