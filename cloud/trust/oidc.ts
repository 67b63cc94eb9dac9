import { createHash } from 'node:crypto'
import {
  createRemoteJWKSet,
  customFetch,
  decodeJwt,
  type JWTPayload,
  type JWTVerifyGetKey,
  errors as joseErrors,
  jwtVerify,
} from 'jose'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../../contract/clock.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { readBounded } from '../../platform/bounded-body.ts'
import type { Logger } from '../../platform/logger.ts'
import { ROLES_OF_PEOPLE, type RoleOfPeople } from '../store/roles.ts'
import type { ServiceToken, ServiceTokenRecords, TokenIssuer } from './tokens.ts'

/** Who says who people are, and which of them may do what. */
export interface OidcPolicy {
  /** as its tokens name it; its description is at `/.well-known/openid-configuration` below */
  readonly issuer: string
  /** `aud` of tokens that are meant for this cloud */
  readonly audience: string
  /** claim with the groups or roles of a person, a path with dots: `groups`, `realm_access.roles` */
  readonly roleClaim: string
  /** claim with the name that the audit log gets */
  readonly nameClaim: string
  /** values of the role claim that make somebody of each role; of several that fit, the one that may most counts */
  readonly roles: Readonly<Record<RoleOfPeople, readonly string[]>>
}

/** Signatures by a key that only the provider has: none of those that two share. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
/** chosen: a token with a hundred groups; a header of HTTP holds 16 KiB in all */
const TOKEN_CHARS_MAX = 8_192
/** chosen: difference of two machines' clocks */
const CLOCK_TOLERANCE_S = 30
/** Chosen: whoever left the company yesterday is out today, whatever the provider is set to. */
const LIFE_MS_MAX = 24 * 3_600_000
/** Chosen: how long a check counts, and how long the keys that it is made with. A key that the provider has withdrawn counts for both. */
const CHECKED_MS_MAX = 5 * 60_000
const KEYS_MS_MAX = 5 * 60_000
const CHECKED_MAX = 2_000
/** chosen: descriptions have a few KiB, sets of keys some dozens */
const DOCUMENT_BYTES_MAX = 256 * 1024
const ANSWER_MS = 5_000
/** chosen: a provider that is away is asked this often, however many requests come */
const AGAIN_MS = 5_000
/** what jose says of the provider's keys, and not of a token */
const OF_PROVIDER = new Set(['ERR_JOSE_GENERIC', 'ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID'])
const DISCOVERY = '/.well-known/openid-configuration'
const NAME = /^[\w.@+:|/-]{1,128}$/
const SHAPE = /^[\w-]+\.[\w-]+\.[\w-]+$/

const invalid = (detail: string) => err(contractError('token-invalid', detail))

/** Tokens of people, by an OpenID provider: checked against its published keys, never kept.
 *  @see OpenID Connect Core 1.0 section 3.1.3.7; OpenID Connect Discovery 1.0 section 4; RFC 9068 section 4 */
export class OidcTokens {
  readonly #policy: OidcPolicy
  readonly #clock: Clock
  readonly #machine: Clock
  readonly #records: ServiceTokenRecords
  readonly #logger: Logger
  readonly #checked = new LRUCache<string, { readonly payload: JWTPayload; readonly atMs: number }>({
    max: CHECKED_MAX,
  })
  #keys: Promise<JWTVerifyGetKey> | undefined

  /** @param machine real time: of sockets, and of how long a check counts */
  constructor(
    policy: OidcPolicy,
    parts: {
      readonly clock: Clock
      readonly machine: Clock
      readonly records: ServiceTokenRecords
      readonly logger: Logger
    },
  ) {
    this.#policy = policy
    this.#clock = parts.clock
    this.#machine = parts.machine
    this.#records = parts.records
    this.#logger = parts.logger
  }

  /** Whether a token says that it is of this provider; nothing of it is believed yet. */
  claims(token: string): boolean {
    if (token.length > TOKEN_CHARS_MAX || !SHAPE.test(token)) return false
    if (this.#checked.has(token)) return true
    try {
      return decodeJwt(token).iss === this.#policy.issuer
    } catch {
      return false
    }
  }

  isKnown(token: string): boolean {
    return this.#checked.has(token)
  }

  /** @returns `token-invalid` | `token-expired` | `not-authorized` | `unavailable` */
  async verify(token: string): Promise<Result<ServiceToken, ContractError>> {
    const checked = await this.#payloadOf(token)
    if (!checked.ok) return checked
    const { iat = 0, exp = 0 } = checked.value
    const nowMs = this.#clock.wallMs()
    if (exp * 1000 + CLOCK_TOLERANCE_S * 1000 <= nowMs) return this.#expired(token)
    if (exp * 1000 - nowMs > LIFE_MS_MAX) {
      return invalid('the token ends more than a day from now: have the identity provider give shorter ones')
    }
    const subject = this.#subjectOf(checked.value)
    if (subject === undefined) {
      return invalid(`the token names nobody: its claim "${this.#policy.nameClaim}" is no name, or not a verified one`)
    }
    const role = this.#roleOf(checked.value)
    if (role === undefined) {
      return err(contractError('not-authorized', `"${this.#policy.roleClaim}" of the token gives no right here`))
    }
    const jti = createHash('sha256').update(token).digest('hex').slice(0, 32)
    const issuedMs = Math.round(iat * 1000)
    if (this.#records.standing(jti, subject, issuedMs) === 'revoked') return invalid('the token was revoked')
    return ok({ jti, subject, role, issuedMs, expiresMs: exp * 1000, keyId: undefined, isForeign: true })
  }

  #expired(token: string): Result<never, ContractError> {
    this.#checked.delete(token)
    return err(contractError('token-expired', 'the token has expired: get a new one from the identity provider'))
  }

  async #payloadOf(token: string): Promise<Result<JWTPayload, ContractError>> {
    const nowMs = this.#machine.monotonicMs()
    const before = this.#checked.get(token)
    if (before !== undefined && nowMs - before.atMs < CHECKED_MS_MAX) return ok(before.payload)
    this.#checked.delete(token)
    const { issuer, audience } = this.#policy
    try {
      const { payload } = await jwtVerify(token, await this.#providerKeys(), {
        ...{ algorithms: ALGORITHMS, issuer, audience, clockTolerance: CLOCK_TOLERANCE_S },
        currentDate: new Date(this.#clock.wallMs()),
        requiredClaims: ['exp', 'iat', 'sub'],
      })
      this.#checked.set(token, { payload, atMs: nowMs })
      return ok(payload)
    } catch (cause) {
      if (cause instanceof joseErrors.JWTExpired) return this.#expired(token)
      if (cause instanceof joseErrors.JWTClaimValidationFailed) {
        return invalid(`the token is not for here: its "${cause.claim}" is missing or another`)
      }
      if (cause instanceof joseErrors.JOSEError && !OF_PROVIDER.has(cause.code)) {
        return invalid('the identity provider has not signed this token')
      }
      this.#logger.warn({ err: cause, issuer }, 'the identity provider does not answer as it should')
      return err(contractError('unavailable', `the identity provider ${issuer} does not answer as it should`))
    }
  }

  /** Its keys, as it describes itself; asked for once, and again some seconds after that failed. */
  #providerKeys(): Promise<JWTVerifyGetKey> {
    if (this.#keys === undefined) {
      const keys = this.#discover()
      this.#keys = keys
      keys.catch(() => this.#machine.after(AGAIN_MS, () => (this.#keys = undefined)))
    }
    return this.#keys
  }

  async #discover(): Promise<JWTVerifyGetKey> {
    const { issuer } = this.#policy
    const signal = AbortSignal.timeout(ANSWER_MS)
    const response = await boundedFetch(`${issuer.replace(/\/$/, '')}${DISCOVERY}`, { signal })
    if (!response.ok) throw new ProviderAway(`HTTP ${response.status}`)
    const { issuer: named, jwks_uri: uri } = (await response.json()) as { issuer?: unknown; jwks_uri?: unknown }
    // Another name would let one provider speak for the other.
    if (named !== issuer) throw new ProviderAway(`it calls itself ${JSON.stringify(named)}`)
    if (typeof uri !== 'string' || !URL.canParse(uri)) throw new ProviderAway('it names no keys')
    // In the clear only where it is itself.
    if (new URL(uri).protocol !== 'https:' && new URL(uri).protocol !== new URL(issuer).protocol) {
      throw new ProviderAway('its keys would come in the clear')
    }
    const options = { timeoutDuration: ANSWER_MS, cacheMaxAge: KEYS_MS_MAX, [customFetch]: boundedFetch }
    return createRemoteJWKSet(new URL(uri), options)
  }

  #subjectOf(payload: JWTPayload): string | undefined {
    const { nameClaim } = this.#policy
    const name = claimOf(payload, nameClaim)
    if (typeof name !== 'string' || !NAME.test(name)) return undefined
    // Anybody may write any address until it is verified.
    if (nameClaim === 'email' && payload.email_verified !== true) return undefined
    return `oidc:${name}`
  }

  #roleOf(payload: JWTPayload): RoleOfPeople | undefined {
    const { roleClaim, roles } = this.#policy
    const claim = claimOf(payload, roleClaim)
    const values = typeof claim === 'string' ? claim.split(' ') : Array.isArray(claim) ? (claim as unknown[]) : []
    return ROLES_OF_PEOPLE.find((role) => roles[role].some((each) => values.includes(each)))
  }
}

class ProviderAway extends Error {}

/** As `fetch`, for documents that are small, come from where they were asked for, and in time. */
async function boundedFetch(url: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(url, { ...init, redirect: 'error' })
  const body = await readBounded(response.body, DOCUMENT_BYTES_MAX)
  if (body === undefined) throw new ProviderAway('its answer is too long')
  return new Response(new Uint8Array(body), {
    status: response.status,
    headers: { 'content-type': 'application/json' },
  })
}

/** @param path names of claims within claims, with dots; a claim whose own name has dots goes first */
function claimOf(payload: JWTPayload, path: string): unknown {
  if (Object.hasOwn(payload, path)) return payload[path]
  return path
    .split('.')
    .reduce<unknown>(
      (value, name) =>
        typeof value === 'object' && value !== null && Object.hasOwn(value, name)
          ? (value as Record<string, unknown>)[name]
          : undefined,
      payload,
    )
}

/** The tokens of people by the provider, all others by the cloud itself. */
export const withOidc = (tokens: TokenIssuer, oidc: OidcTokens): TokenIssuer => ({
  ...tokens,
  // It changes.
  get kid() {
    return tokens.kid
  },
  couldBe: (token) => tokens.couldBe(token) || oidc.claims(token),
  isKnown: (token) => tokens.isKnown(token) || oidc.isKnown(token),
  verifyService: (token) => (oidc.claims(token) ? oidc.verify(token) : tokens.verifyService(token)),
})
