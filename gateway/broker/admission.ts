import { errors, jwtVerify } from 'jose'
import type { Clock } from '../../contract/clock.ts'
import { type ContractError, contractError, type ErrorCode } from '../../contract/errors.ts'
import { isBoard, isName, isSha256Hex } from '../../contract/fields.ts'
import { canonicalId } from '../../contract/id.ts'
import { LIMITS } from '../../contract/limits.ts'
import { present } from '../../contract/present.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { devicePrefix, parseDeviceId, parseSiteId, UPLINK_KINDS, type UplinkKind } from '../../contract/topics.ts'
import type { Origin } from '../origin.ts'
import type { KeySource } from './key-source.ts'
import type { Certified } from './listener-tls.ts'
import type { Revocations } from './revocations.ts'

/** Audience of device tokens. */
const TOKEN_AUDIENCE = 'kinglet-gateway'
/** chosen: clocks of issuer and gateway may differ by this much */
const CLOCK_TOLERANCE_S = 5
/** chosen: the exact topics of the contract and `#`, several times over */
export const SUBSCRIPTIONS_MAX = 16

/** What all topics of the contract begin with, case and all. */
const TOPICS = 'kinglet/v1/'

/** What an admitted connection may do, worked out once so that a message costs one prefix comparison. */
export interface Session extends Origin {
  /** `kinglet/v1/{site}/{device}/` */
  readonly prefix: string
  /** Unix ms, tolerance included: the connection ends then */
  readonly expiresMs: number
  /** Unix ms of the token; undefined when it does not say */
  readonly issuedMs: number | undefined
  /** name of the key that signed the token; undefined when it does not say */
  readonly kid: string | undefined
}

/** The part of a CONNECT that admission judges. */
export interface ConnectClaim {
  readonly clientId: string
  readonly username: string | undefined
  readonly password: Uint8Array | undefined
  readonly will: { readonly topic: string; readonly retain?: boolean | undefined } | undefined
  /** what TLS says of the device; undefined where it was not asked */
  readonly certified?: Certified | undefined
}

/** Judges a connection: an EdDSA JWT for this audience whose subject is the user name and the client id, with claims `site` and
 *  `board`, in date on the injected clock; and a will, when there is one, on a topic the device may publish to.
 *  A certificate, where TLS asks for one, must be the same device's: it does not stand in for the token, which is short-lived, names
 *  site and board, and can be revoked.
 *  @returns the session, or `token-invalid` | `token-expired` | `not-authorized` | `device-revoked` | `bad-topic`
 */
export async function admit(
  claim: ConnectClaim,
  keys: Pick<KeySource, 'key'>,
  clock: Clock,
  revocations?: Pick<Revocations, 'refuses'>,
): Promise<Result<Session, ContractError>> {
  const { clientId, username, password, will, certified } = claim
  const refuse = (code: ErrorCode, detail: string) => err(contractError(code, detail))
  if (username === undefined || password === undefined) return refuse('token-invalid', 'no user name or no token')
  // Before it is made a string: a packet may bring as many bytes as the broker lets one have.
  if (password.length > LIMITS.tokenLength) return refuse('token-invalid', `token of ${password.length} bytes`)
  const admitted = await admitBearer(Buffer.from(password).toString('latin1'), keys, clock, revocations)
  if (!admitted.ok) return admitted
  const { device } = admitted.value
  if (device !== canonicalId(username) || device !== canonicalId(clientId))
    return refuse('not-authorized', 'the token is for another device')
  if (certified !== undefined && canonicalId(certified.name) !== device) {
    return refuse('not-authorized', 'the certificate is for another device')
  }
  const session: Session = {
    ...admitted.value,
    expiresMs: Math.min(admitted.value.expiresMs, certified?.validToMs ?? Number.POSITIVE_INFINITY),
  }
  if (will !== undefined && (will.retain === true || publishKind(session, will.topic) === undefined)) {
    return refuse('bad-topic', 'the will is not on a topic of this device')
  }
  return ok(session)
}

/** Judges a device token by itself, as a request over HTTP brings it.
 *  @returns what its bearer may do, or `token-invalid` | `token-expired` | `device-revoked`
 */
export async function admitBearer(
  token: string,
  keys: Pick<KeySource, 'key'>,
  clock: Clock,
  revocations?: Pick<Revocations, 'refuses'>,
): Promise<Result<Session, ContractError>> {
  const refuse = (code: ErrorCode, detail: string) => err(contractError(code, detail))
  if (token.length > LIMITS.tokenLength) return refuse('token-invalid', `token of ${token.length} bytes`)
  const claims = await verifyToken(token, keys, clock)
  if (!claims.ok) return claims
  const { sub, site, board, exp, iat, kid } = claims.value
  const device = parseDeviceId(sub ?? '')
  const siteId = parseSiteId(typeof site === 'string' ? site : '')
  if (!device.ok || !siteId.ok) return refuse('token-invalid', 'device or site of the token is no id')
  if (typeof board !== 'string' || !isBoard(board))
    return refuse('token-invalid', 'board of the token is no board name')
  const issuedMs = iat === undefined ? undefined : Math.round(iat * 1000)
  if (revocations?.refuses(device.value, issuedMs)) return refuse('device-revoked', 'the token was revoked')
  return ok({
    site: siteId.value,
    device: device.value,
    board,
    prefix: devicePrefix(siteId.value, device.value),
    expiresMs: (present(exp, 'the expiry, a claim that is required') + CLOCK_TOLERANCE_S) * 1000,
    issuedMs,
    kid,
  })
}

async function verifyToken(token: string, keys: Pick<KeySource, 'key'>, clock: Clock) {
  try {
    const { payload, protectedHeader } = await jwtVerify<{ site?: unknown; board?: unknown }>(token, keys.key, {
      algorithms: ['EdDSA'],
      audience: TOKEN_AUDIENCE,
      requiredClaims: ['sub', 'exp', 'site', 'board'],
      clockTolerance: CLOCK_TOLERANCE_S,
      currentDate: new Date(clock.wallMs()),
    })
    return ok({ ...payload, kid: protectedHeader.kid })
  } catch (cause) {
    const expired = cause instanceof errors.JWTExpired
    const detail = cause instanceof Error ? cause.message : String(cause)
    return err(contractError(expired ? 'token-expired' : 'token-invalid', detail))
  }
}

/** Whether a topic is the device's own, whichever case it writes its ids in. Ids are ASCII, so no other letter becomes one of theirs. */
const isUnder = ({ prefix }: Session, topic: string): boolean =>
  topic.startsWith(prefix) ||
  (topic.slice(0, prefix.length).toLowerCase() === prefix &&
    topic.startsWith(TOPICS) &&
    !/[^ -~]/.test(topic.slice(0, prefix.length)))

/** The filter as messages for the device are published: its ids in lower case. */
export const canonicalFilter = ({ prefix }: Session, filter: string): string => prefix + filter.slice(prefix.length)

/** What a device publishes by this topic; undefined when it may not. */
export function publishKind(session: Session, topic: string): UplinkKind | undefined {
  if (!isUnder(session, topic)) return undefined
  const kind = topic.slice(session.prefix.length) as UplinkKind
  return UPLINK_KINDS.includes(kind) ? kind : undefined
}

/** Whether a device may subscribe: everything of its own, one topic of its own, or all its blocks; no other wildcard. */
export function maySubscribe(session: Session, filter: string): boolean {
  if (!isUnder(session, filter)) return false
  const [kind = '', hash, ...rest] = filter.slice(session.prefix.length).split('/')
  if (rest.length > 0) return false
  if (hash !== undefined) return kind === 'block' && (hash === '+' || isSha256Hex(hash))
  return kind === '#' || isName(kind)
}
