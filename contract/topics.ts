import type { Brand } from './brand.ts'
import { type ContractError, contractError } from './errors.ts'
import { isSha256Hex } from './fields.ts'
import { canonicalId, ID_WORDS } from './id.ts'
import { LIMITS } from './limits.ts'
import { err, ok, type Result } from './result.ts'

export type DeviceId = Brand<string, 'DeviceId'>
export type SiteId = Brand<string, 'SiteId'>

/** What a device may publish. */
export const UPLINK_KINDS = ['report', 'wake', 'event', 'get', 'meta-get'] as const
/** What the gateway publishes to one device; `block` carries the artifact's sha256 as one more level. */
export const DOWNLINK_KINDS = ['assign', 'block', 'verdict', 'meta'] as const

export type UplinkKind = (typeof UPLINK_KINDS)[number]
/** @public */
export type DownlinkKind = (typeof DOWNLINK_KINDS)[number]

export type ParsedTopic =
  | { readonly site: SiteId; readonly device: DeviceId; readonly kind: UplinkKind | 'assign' | 'verdict' | 'meta' }
  | { readonly site: SiteId; readonly device: DeviceId; readonly kind: 'block'; readonly sha256: string }

export function parseDeviceId(text: string): Result<DeviceId, ContractError> {
  return parseId<DeviceId>(text, 'device')
}

export function parseSiteId(text: string): Result<SiteId, ContractError> {
  return parseId<SiteId>(text, 'site')
}

function parseId<Id extends string>(text: string, what: string): Result<Id, ContractError> {
  const id = canonicalId(text)
  return id === undefined
    ? err(contractError('malformed', `"${text.slice(0, LIMITS.idLength)}" is no ${what} id: ${ID_WORDS}`))
    : ok(id as Id)
}

/** The prefix under which a device may publish and subscribe, and nowhere else. Ends in a slash. */
export const devicePrefix = (site: SiteId, device: DeviceId): string => `kinglet/v1/${site}/${device}/`

export const topicOf = (site: SiteId, device: DeviceId, kind: UplinkKind | 'assign' | 'verdict' | 'meta'): string =>
  devicePrefix(site, device) + kind

export const blockTopic = (site: SiteId, device: DeviceId, sha256: string): string =>
  `${devicePrefix(site, device)}block/${sha256}`

/** Splits a topic of the contract, whichever case its ids are written in; anything else, wildcards included, is `bad-topic`. */
export function parseTopic(topic: string): Result<ParsedTopic, ContractError> {
  if (topic.length > LIMITS.topicBytes) return err(contractError('bad-topic', `${topic.length} characters`))
  const [root, version, givenSite = '', givenDevice = '', kind, hash, ...rest] = topic.split('/')
  const [site, device] = [canonicalId(givenSite), canonicalId(givenDevice)]
  const bad = () => err(contractError('bad-topic', topic))
  if (root !== 'kinglet' || version !== 'v1' || rest.length > 0) return bad()
  if (site === undefined || device === undefined) return bad()
  const ids = { site: site as SiteId, device: device as DeviceId }
  if (kind === 'block') return hash !== undefined && isSha256Hex(hash) ? ok({ ...ids, kind, sha256: hash }) : bad()
  if (kind === undefined || hash !== undefined) return bad()
  switch (kind) {
    case 'report':
    case 'wake':
    case 'event':
    case 'get':
    case 'meta-get':
    case 'assign':
    case 'verdict':
    case 'meta':
      return ok({ ...ids, kind })
    default:
      return bad()
  }
}
