import type * as z from 'zod/mini'
import { bytesToHex, hexToBytes } from '../../contract/bytes.ts'
import { enrolmentMessage, rotationMessage, tokenMessage } from '../../contract/device-proof.ts'
import {
  type ClaimFile,
  challengeAnswerSchema,
  enrolmentAnswerSchema,
  rotationAnswerSchema,
  tokenAnswerSchema,
} from '../../contract/enrolment.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { readProblem } from '../../contract/problem.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { FlashLayout } from '../core/flash/flash-layout.ts'
import {
  activatePendingKey,
  deviceKey,
  preparePendingKey,
  readIdentity,
  writeIdentity,
} from '../core/flash/identity.ts'
import type { Flash } from '../ports/flash.ts'

/** chosen: a gateway that restarts is back by then; whoever keeps a token tries again later anyway */
const ATTEMPTS_MAX = 4
const FIRST_PAUSE_MS = 250
/** chosen: no attempt begins after that */
const TOTAL_MS = 60_000

export interface GrantedToken {
  readonly token: string
  readonly expiresInSeconds: number
}

/** One request to the cloud and its answer, which nobody has looked at yet.
 *  @returns the cloud's refusal, or `unavailable` */
export type IdentityExchange = (path: string, body: unknown) => Promise<Result<unknown, ContractError>>

/** The device's side of enrolment, tokens and key rotation, whatever carries its requests to the cloud. What comes back is
 *  believed as far as it goes: a false answer costs the device its way to the cloud and nothing else. */
export class IdentityProtocol {
  readonly #exchange: IdentityExchange
  readonly #chance: () => number

  /** @param chance uniform in [0, 1), for the pauses before what failed is tried again */
  constructor(exchange: IdentityExchange, chance: () => number) {
    this.#exchange = exchange
    this.#chance = chance
  }

  /** Makes the device's key in its flash and has the cloud confirm it. May be repeated after any failure and any power cut.
   *  @returns the key's id, or the cloud's refusal, `unavailable`, or the flash's error */
  enrol(
    flash: Flash,
    layout: FlashLayout,
    claim: ClaimFile,
    random: SecureRandom,
  ): Promise<Result<string, ContractError>> {
    return this.#patiently(() => this.#enrol(flash, layout, claim, random))
  }

  async #enrol(
    flash: Flash,
    layout: FlashLayout,
    claim: ClaimFile,
    random: SecureRandom,
  ): Promise<Result<string, ContractError>> {
    const { device } = claim
    const prepared = preparePendingKey(flash, layout, claim, random)
    if (!prepared.ok) return prepared
    const { pending } = prepared.value
    const key = deviceKey(pending)
    const challenge = await this.#challenge()
    if (!challenge.ok) return challenge
    const publicKey = hexToBytes(key.public.publicKey)
    const message = enrolmentMessage({ claim: claim.claim, device, publicKey, challenge: challenge.value })
    const answer = await this.#post('/v1/enrolments', enrolmentAnswerSchema, {
      claim: claim.claim,
      device,
      publicKey: key.public.publicKey,
      challenge: challenge.value,
      claimSignature: bytesToHex(deviceKey(hexToBytes(claim.secret)).sign(message)),
      signature: bytesToHex(key.sign(message)),
    })
    // The claim may have been used by this very key, and the answer lost: then the key is good for a token.
    if (!answer.ok && answer.error.code !== 'claim-used' && answer.error.code !== 'conflict') return answer
    if (!answer.ok && !(await this.#ask(device, pending)).ok) {
      // Or by the key that the device has had since: then it is enrolled, and the pending key is nobody's.
      const { active } = prepared.value
      if (active === undefined || !(await this.#ask(device, active)).ok) return answer
      const forgotten = writeIdentity(flash, layout, { ...prepared.value, pending: undefined })
      return forgotten.ok ? ok(deviceKey(active).public.keyId) : forgotten
    }
    const activated = activatePendingKey(flash, layout, pending)
    return activated.ok ? ok(key.public.keyId) : activated
  }

  /** Asks for a token with a proof of the key. @param seed 32 bytes */
  token(device: string, seed: Uint8Array): Promise<Result<GrantedToken, ContractError>> {
    return this.#patiently(() => this.#ask(device, seed))
  }

  async #ask(device: string, seed: Uint8Array): Promise<Result<GrantedToken, ContractError>> {
    const challenge = await this.#challenge()
    if (!challenge.ok) return challenge
    const key = deviceKey(seed)
    const { keyId } = key.public
    return this.#post(`/v1/devices/${device}/token`, tokenAnswerSchema, {
      keyId,
      challenge: challenge.value,
      signature: bytesToHex(key.sign(tokenMessage(device, keyId, challenge.value))),
    })
  }

  /** A token for the device in the flash. Where a power cut has broken off a rotation the cloud may have the pending key already: then
   *  that one becomes the active key.
   *  @returns as `token`; `not-found`: the device is not enrolled */
  async tokenOf(flash: Flash, layout: FlashLayout): Promise<Result<GrantedToken, ContractError>> {
    const identity = readIdentity(flash, layout)
    if (identity?.active === undefined) return err(contractError('not-found', 'the device is not enrolled'))
    const { device, active, pending } = identity
    const granted = await this.token(device, active)
    if (granted.ok || granted.error.code !== 'unknown-key' || pending === undefined) return granted
    const next = await this.token(device, pending)
    if (!next.ok) return granted
    const activated = activatePendingKey(flash, layout, pending)
    return activated.ok ? next : activated
  }

  /** Replaces the device's key, or ends a replacement that a power cut has broken off: the pending key is in flash before the cloud
   *  hears of it, and becomes active when the cloud says that it has it.
   *  @returns the new key's id; `not-found`: the device is not enrolled; else as `enrol` */
  rotate(flash: Flash, layout: FlashLayout, random: SecureRandom): Promise<Result<string, ContractError>> {
    return this.#patiently(() => this.#rotate(flash, layout, random))
  }

  async #rotate(flash: Flash, layout: FlashLayout, random: SecureRandom): Promise<Result<string, ContractError>> {
    const identity = readIdentity(flash, layout)
    if (identity?.active === undefined) return err(contractError('not-found', 'the device is not enrolled'))
    const prepared = preparePendingKey(flash, layout, identity, random)
    if (!prepared.ok) return prepared
    const { device } = identity
    const former = deviceKey(identity.active)
    const next = deviceKey(prepared.value.pending)
    const challenge = await this.#challenge()
    if (!challenge.ok) return challenge
    const publicKey = hexToBytes(next.public.publicKey)
    const message = rotationMessage({
      device,
      formerKeyId: former.public.keyId,
      publicKey,
      challenge: challenge.value,
    })
    const answer = await this.#post(`/v1/devices/${device}/key`, rotationAnswerSchema, {
      formerKeyId: former.public.keyId,
      publicKey: next.public.publicKey,
      challenge: challenge.value,
      formerSignature: bytesToHex(former.sign(message)),
      signature: bytesToHex(next.sign(message)),
    })
    if (!answer.ok) return answer
    const activated = activatePendingKey(flash, layout, prepared.value.pending)
    return activated.ok ? ok(next.public.keyId) : activated
  }

  /** Each of these may be repeated as a whole. */
  async #patiently<T>(attempt: () => Promise<Result<T, ContractError>>): Promise<Result<T, ContractError>> {
    const late = AbortSignal.timeout(TOTAL_MS)
    for (let n = 1; ; n++) {
      const result = await attempt()
      if (result.ok || result.error.code !== 'unavailable' || n === ATTEMPTS_MAX || late.aborted) return result
      const pauseMs = FIRST_PAUSE_MS * 2 ** (n - 1) * this.#chance()
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }

  async #challenge(): Promise<Result<string, ContractError>> {
    const answer = await this.#post('/v1/challenges', challengeAnswerSchema, {})
    return answer.ok ? ok(answer.value.challenge) : answer
  }

  async #post<S extends z.ZodMiniType>(
    path: string,
    schema: S,
    body: unknown,
  ): Promise<Result<z.infer<S>, ContractError>> {
    const answer = await this.#exchange(path, body)
    if (!answer.ok) return answer
    const parsed = schema.safeParse(answer.value)
    return parsed.success ? ok(parsed.data) : err(contractError('malformed', `the answer to ${path} is none`))
  }
}

/** What an HTTP answer to such a request says.
 *  @returns its JSON; or the cloud's refusal, or `unavailable` for a failure that nobody explains */
export function identityAnswer(status: number, text: string): Result<unknown, ContractError> {
  const json = parseJson(text)
  if (status >= 200 && status < 300) return ok(json)
  return err(readProblem(json) ?? contractError('unavailable', `HTTP ${status}`))
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
