import { createPublicKey, type KeyObject } from 'node:crypto'
import {
  calculateJwkThumbprint,
  exportJWK,
  type JSONWebKeySet,
  type JWK,
  type JWTPayload,
  errors as joseErrors,
  jwtVerify,
  SignJWT,
} from 'jose'
import { LRUCache } from 'lru-cache'
import { bytesToHex } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { SERVICE_ROLES, type ServiceRole } from '../store/roles.ts'
import { ed25519FromSeed } from './ed25519.ts'

/** Audience of device tokens, checked by gateways. */
const GATEWAY_AUDIENCE = 'kinglet-gateway'
/** Audience of service tokens, checked here. */
const CLOUD_AUDIENCE = 'kinglet-cloud'
const ISSUER = 'kinglet-cloud'
/** chosen: difference of two machines' clocks */
const CLOCK_TOLERANCE_S = 30

/** chosen: gateways and people of a large fleet; what is forgotten is checked again */
const SIGNED_MAX = 2_000

/** As long, in characters, as a JWT of ours is at least: claims and a signature of 64 bytes. */
const TOKEN_SHAPE = /^[\w-]{20,}\.[\w-]{40,}\.[\w-]{86}$/

export interface Principal {
  readonly subject: string
  readonly role: ServiceRole
}

/** What a service token says and when it may be used. */
export interface ServiceToken extends Principal {
  /** under which it is kept, 32 hex digits */
  readonly jti: string
  /** Unix ms */
  readonly issuedMs: number
  /** Unix ms */
  readonly expiresMs: number
  /** key that was proven for it, as `cnf` says; undefined: none */
  readonly keyId: string | undefined
  /** an identity provider has given it out, and gives out the next */
  readonly isForeign?: boolean
}

/** What is kept of service tokens: one that was never given out is refused, whoever signed it, and so is one that was revoked. */
export interface ServiceTokenRecords {
  /** @param issuedMs Unix ms */
  standing(jti: string, subject: string, issuedMs: number): 'good' | 'revoked' | 'unknown'
  /** What it was given out for: that, and not its claim, says what it may do. */
  roleOf(jti: string): string | undefined
}

export interface MintedToken {
  readonly token: string
  readonly jti: string
  readonly issuedMs: number
  readonly expiresMs: number
}

/** Mints and checks the tokens of devices and services (EdDSA JWT). Gateways check device tokens with `jwks`. */
export interface TokenIssuer {
  /** Whether it looks like one at all, before anything is spent on it. */
  couldBe(token: string): boolean
  /** Whether the signature of a service token was checked not long ago and was right: that it costs no work to look at it again. */
  isKnown(token: string): boolean
  /** one object for as long as the process runs, whatever key is in it */
  readonly jwks: JSONWebKeySet
  /** name of the key that signs, its thumbprint (RFC 7638) */
  readonly kid: string
  /** Signs and checks with another key from now on: every token of the former one is refused. @param seed 32 bytes */
  rekey(seed: Uint8Array): Promise<void>
  /** @param keyId the device's key that was proven, bound into the token as `cnf` (RFC 7800 section 3.4) */
  mintDevice(
    device: { device: string; site: string; board: string },
    ttlMs: number,
    keyId?: string,
  ): Promise<MintedToken>
  /** Whoever calls it puts what it returns into the records: without that the token is refused. */
  mintService(subject: string, role: ServiceRole, ttlMs: number, keyId?: string): Promise<MintedToken>
  /** @returns `token-expired` | `token-invalid`; of gateways also the codes of GatewayIdentities.check */
  verifyService(token: string): Promise<Result<ServiceToken, ContractError>>
}

/** @param seed 32 bytes, another than the director's */
export async function createTokenIssuer(
  seed: Uint8Array,
  clock: Clock,
  random: SecureRandom,
  records: ServiceTokenRecords,
): Promise<TokenIssuer> {
  let key = await keyOf(seed)
  /** Tokens whose signature was right: it is checked once, all else each time. */
  const signed = new LRUCache<string, JWTPayload>({ max: SIGNED_MAX })
  const jwks = { keys: [key.jwk] }

  const mint = async (claims: Record<string, unknown>, subject: string, audience: string, ttlMs: number) => {
    const issuedMs = clock.wallMs()
    const expiresMs = issuedMs + ttlMs
    const jti = bytesToHex(random.bytes(16))
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'EdDSA', kid: key.kid })
      .setSubject(subject)
      .setIssuer(ISSUER)
      .setAudience(audience)
      .setJti(jti)
      // With its fraction (RFC 7519 section 2): a token of after a revocation must not look like one of before it.
      .setIssuedAt(issuedMs / 1000)
      .setExpirationTime(Math.floor(expiresMs / 1000))
      .sign(key.privateKey)
    return { token, jti, issuedMs, expiresMs }
  }

  const payloadOf = async (token: string): Promise<JWTPayload> => {
    const before = signed.get(token)
    if (before !== undefined) {
      if ((before.exp ?? 0) * 1000 > clock.wallMs() - CLOCK_TOLERANCE_S * 1000) return before
      signed.delete(token)
    }
    const { publicKey } = key
    const { payload } = await jwtVerify(token, publicKey, {
      algorithms: ['EdDSA'],
      issuer: ISSUER,
      audience: CLOUD_AUDIENCE,
      currentDate: new Date(clock.wallMs()),
      clockTolerance: CLOCK_TOLERANCE_S,
      requiredClaims: ['exp', 'iat', 'sub', 'jti'],
    })
    // Not of a key that was replaced while it was checked.
    if (publicKey === key.publicKey) signed.set(token, payload)
    return payload
  }

  return {
    couldBe: (token) => TOKEN_SHAPE.test(token),
    isKnown: (token) => signed.has(token),
    jwks,
    get kid() {
      return key.kid
    },
    async rekey(seed) {
      key = await keyOf(seed)
      signed.clear()
      jwks.keys = [key.jwk]
    },
    mintDevice: ({ device, site, board }, ttlMs, keyId) =>
      mint({ site, board, ...boundTo(keyId) }, device, GATEWAY_AUDIENCE, ttlMs),
    mintService: (subject, role, ttlMs, keyId) => mint({ role, ...boundTo(keyId) }, subject, CLOUD_AUDIENCE, ttlMs),
    async verifyService(token) {
      const invalid = (detail: string) => err(contractError('token-invalid', detail))
      if (token.length > LIMITS.tokenLength) return invalid('the token is too long')
      try {
        const payload = await payloadOf(token)
        const { sub: subject, jti, iat = 0, exp = 0 } = payload
        if (typeof payload.role !== 'string' || subject === undefined) return invalid('the token names no role')
        const issuedMs = Math.round(iat * 1000)
        const standing = typeof jti === 'string' ? records.standing(jti, subject, issuedMs) : 'unknown'
        if (jti === undefined || standing === 'unknown') return invalid('the token was never given out')
        if (standing === 'revoked') return invalid('the token was revoked')
        const role = SERVICE_ROLES.find((candidate) => candidate === records.roleOf(jti))
        if (role === undefined) return invalid('the token names no role')
        const { kid: keyId } = (payload.cnf ?? {}) as { kid?: string }
        return ok({ jti, subject, role, issuedMs, expiresMs: exp * 1000, keyId })
      } catch (cause) {
        if (cause instanceof joseErrors.JWTExpired) return err(contractError('token-expired', 'the token has expired'))
        return invalid('the token is not one of ours')
      }
    },
  }
}

const boundTo = (keyId: string | undefined) => (keyId === undefined ? {} : { cnf: { kid: keyId } })

interface TokenKey {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly kid: string
  readonly jwk: JWK
}

async function keyOf(seed: Uint8Array): Promise<TokenKey> {
  const privateKey = ed25519FromSeed(seed)
  const publicKey = createPublicKey(privateKey)
  const bare = await exportJWK(publicKey)
  const kid = await calculateJwkThumbprint(bare)
  return { privateKey, publicKey, kid, jwk: { ...bare, kid, alg: 'EdDSA', use: 'sig' } }
}
