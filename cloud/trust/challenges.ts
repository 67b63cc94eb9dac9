import { createHmac, timingSafeEqual } from 'node:crypto'
import { bytesToHex } from '../../contract/bytes.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { err, ok, type Result } from '../../contract/result.ts'

/** chosen: two round trips over a slow link and a signature on a slow core take seconds; a challenge is asked for when it is needed */
const VALID_MS = 5 * 60_000
/** chosen: 200 answered challenges a second for as long as one is valid, about 6 MB */
const SPENT_MAX = 60_000
const NONCE_BYTES = 16
const TIME_BYTES = 6
const MAC_BYTES = 16

/** Numbers that a device signs in place of a time: it may have no clock, and a clock that is wrong by years then does no harm.
 *
 *  A challenge is its own record (nonce, end, MAC by a key of this process), so that asking costs no memory; what was answered is kept
 *  until it would have expired, so that each is good once. A restart forgets the key and with it all that were open. */
export class Challenges {
  readonly #key: Uint8Array
  readonly #random: SecureRandom
  /** nonce to end, in order of being answered */
  readonly #spent = new Map<string, number>()

  constructor(random: SecureRandom) {
    this.#random = random
    this.#key = random.bytes(32)
  }

  /** @returns LIMITS.challengeBytes, hex */
  issue(nowMs: number): string {
    const body = Buffer.alloc(NONCE_BYTES + TIME_BYTES)
    body.set(this.#random.bytes(NONCE_BYTES))
    body.writeUIntBE(nowMs + VALID_MS, NONCE_BYTES, TIME_BYTES)
    return bytesToHex(Buffer.concat([body, this.#mac(body)]))
  }

  /** Whether a challenge is ours and still open.
   *  @returns `bad-signature` | `expired` | `replayed` */
  check(challenge: string, nowMs: number): Result<void, ContractError> {
    const ours = challenge.length === 2 * LIMITS.challengeBytes && /^[0-9a-f]+$/.test(challenge)
    const bytes = Buffer.from(ours ? challenge : '00'.repeat(LIMITS.challengeBytes), 'hex')
    const body = bytes.subarray(0, NONCE_BYTES + TIME_BYTES)
    const mac = bytes.subarray(body.length)
    if (!ours || !timingSafeEqual(mac, this.#mac(body))) {
      return err(contractError('bad-signature', 'the challenge is not one of ours'))
    }
    if (body.readUIntBE(NONCE_BYTES, TIME_BYTES) <= nowMs) {
      return err(contractError('expired', 'the challenge has expired: ask for another'))
    }
    if (this.#spent.has(challenge)) return err(contractError('replayed', 'the challenge was answered before'))
    return ok(undefined)
  }

  /** Remembers that a checked challenge was answered. To be called in the same turn as `check`.
   *  @returns `unavailable` when too many are remembered: to forget one would let it be replayed */
  spend(challenge: string, nowMs: number): Result<void, ContractError> {
    for (const [spent, endMs] of this.#spent) {
      if (endMs > nowMs) break
      this.#spent.delete(spent)
    }
    if (this.#spent.size >= SPENT_MAX) return err(contractError('unavailable', 'too many devices at once'))
    // No longer than it is valid; the oldest is first, and one that is kept too long does no harm.
    this.#spent.set(challenge, nowMs + VALID_MS)
    return ok(undefined)
  }

  #mac(body: Uint8Array): Buffer {
    return createHmac('sha256', this.#key).update(body).digest().subarray(0, MAC_BYTES)
  }
}
