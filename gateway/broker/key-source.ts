import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import * as z from 'zod/mini'
import type { Clock } from '../../contract/clock.ts'
import type { Logger } from '../../platform/logger.ts'
import type { CloudClient } from '../cloud-link/cloud-client.ts'

/** chosen: an Ed25519 key is about 150 bytes of JSON; room for rotation */
const JWKS_BYTES_MAX = 65_536
/** chosen: a cloud that refuses the gateway's token is asked for its keys at once, and not again with each further refusal */
const AFTER_REFUSAL_MS_MIN = 5_000
/** chosen: a stranger's key id must not make the gateway hammer the cloud */
const REFRESH_MS_MIN = 60_000

const jwksSchema = z.object({
  keys: z
    .array(
      z.looseObject({
        kty: z.literal('OKP'),
        crv: z.literal('Ed25519'),
        x: z.string().check(z.maxLength(64)),
        kid: z.optional(z.string().check(z.maxLength(128))),
      }),
    )
    .check(z.maxLength(64)),
})

/** Public keys of device tokens: given, or fetched from the cloud's `GET /v1/keys` and kept on disk for its absence. They are asked for in turns,
 *  and at once when the cloud refuses the gateway's own token: a key that is there no more was stolen, perhaps. An unknown key id asks
 *  the cloud too, at most once a minute, so that a rotation needs no restart.
 */
export class KeySource {
  readonly #cloud: CloudClient | undefined
  readonly #keep: (jwks: string) => Promise<unknown>
  readonly #clock: Clock
  readonly #logger: Logger
  #keys: JWTVerifyGetKey | undefined
  #refreshing: Promise<void> | undefined
  #refreshedMs = Number.NEGATIVE_INFINITY
  #names: readonly string[] = []
  #changed: () => void = () => {}
  #cancel: () => void = () => {}

  /** @param cloud undefined when the keys are given and never asked for
   *  @param stored what `keep` was given last, undefined for nothing
   *  @param keep puts keys on disk */
  constructor(
    cloud: CloudClient | undefined,
    stored: string | undefined,
    keep: (jwks: string) => Promise<unknown>,
    clock: Clock,
    logger: Logger,
    given?: JSONWebKeySet,
  ) {
    this.#cloud = cloud
    this.#keep = keep
    this.#clock = clock
    this.#logger = logger
    if (given !== undefined) this.#use(given)
    else if (stored !== undefined) this.#use(JSON.parse(stored) as JSONWebKeySet)
  }

  /** Asks in turns until `close`. @param everyMs of the clock
   *  @param changed told when other keys are good than before: connections of tokens that none of them has signed are to end */
  start(everyMs: number, changed: () => void): void {
    this.#changed = changed
    this.#await(everyMs)
  }

  close(): void {
    this.#cancel()
    this.#changed = () => {}
  }

  /** Whether a key of this name is good; one without a name is, as long as a key without a name is. */
  has(kid: string | undefined): boolean {
    return this.#names.includes(kid ?? '')
  }

  /** The cloud has refused the gateway's own token. */
  refused(): void {
    void this.refresh(AFTER_REFUSAL_MS_MIN)
  }

  #await(everyMs: number): void {
    this.#cancel = this.#clock.after(everyMs, () => {
      // What a device has asked for just now is as good.
      void this.refresh(everyMs / 2).finally(() => this.#await(everyMs))
    })
  }

  #use(jwks: JSONWebKeySet): void {
    this.#keys = createLocalJWKSet(jwks)
    this.#names = jwks.keys.map(({ kid }) => kid ?? '')
  }

  /** As jose wants it: the key of a token's header; throws JWKSNoMatchingKey when there is none. */
  readonly key: JWTVerifyGetKey = async (header, token) => {
    if (this.#keys !== undefined) {
      try {
        return await this.#keys(header, token)
      } catch (cause) {
        if (!(cause instanceof errors.JWKSNoMatchingKey)) throw cause
      }
    }
    await this.refresh()
    if (this.#keys === undefined) throw new errors.JWKSNoMatchingKey()
    return this.#keys(header, token)
  }

  /** Fetches the keys unless that was tried just now; failures leave the old ones in place. @param leastMs since then, of the clock */
  refresh(leastMs = REFRESH_MS_MIN): Promise<void> {
    this.#refreshing ??= this.#fetch(leastMs).finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  async #fetch(leastMs: number): Promise<void> {
    const now = this.#clock.monotonicMs()
    if (this.#cloud === undefined || now - this.#refreshedMs < leastMs) return
    const answer = await this.#cloud.getJson('/v1/keys', JWKS_BYTES_MAX, true)
    if (!answer.ok) {
      this.#logger.warn({ error: answer.error }, 'device keys could not be fetched')
      // Nothing to stand on yet: the next device may ask again at once.
      if (this.#keys !== undefined) this.#refreshedMs = now
      return
    }
    this.#refreshedMs = now
    const jwks = jwksSchema.safeParse((answer.value as { jwks?: unknown } | null)?.jwks)
    if (!jwks.success) {
      this.#logger.warn({ detail: jwks.error.issues[0]?.message }, 'the cloud sent no usable device keys')
      return
    }
    const before = this.#names
    this.#use(jwks.data as JSONWebKeySet)
    if (before.join() === this.#names.join()) return
    if (before.some((name) => !this.#names.includes(name))) {
      this.#logger.warn({ kids: this.#names }, 'a key of device tokens is good no more: connections of its tokens end')
    }
    this.#changed()
    await this.#keep(JSON.stringify(jwks.data)).catch((cause: unknown) => {
      this.#logger.error({ err: cause }, 'device keys could not be kept')
    })
  }
}
