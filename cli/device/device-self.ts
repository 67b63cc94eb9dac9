import { readFileSync } from 'node:fs'
import type { Clock } from '../../contract/clock.ts'
import type { ContractError } from '../../contract/errors.ts'
import { canonicalId } from '../../contract/id.ts'
import { seededRandom } from '../../contract/random.ts'
import { type DeviceId, parseDeviceId, parseSiteId, type SiteId } from '../../contract/topics.ts'
import { type FlashLayout, layoutOf } from '../../device/core/flash/flash-layout.ts'
import { readIdentity } from '../../device/core/flash/identity.ts'
import { TokenSource } from '../../device/link/token-source.ts'
import type { IdentityClient } from '../../device/node/identity-client.ts'
import type { Flash } from '../../device/ports/flash.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { secureRandom } from '../random-secure.ts'

/** Options of `kinglet device run` that say who the device is and how it proves it. */
export interface SelfFlags {
  readonly flash: string
  readonly board: string
  readonly site?: string | undefined
  readonly device?: string | undefined
  readonly tokenFile?: string | undefined
  readonly tlsCa?: string | undefined
  readonly tlsCert?: string | undefined
  readonly tlsKey?: string | undefined
}

/** Who a device is to its gateway. */
export interface Self {
  readonly site: SiteId
  readonly device: DeviceId
  /** of its key; undefined: it has none */
  readonly seed: Uint8Array | undefined
  readonly layout: FlashLayout
}

export const noIdentity = (path: string): CommandFailure =>
  new CommandFailure(`${path} holds no identity`, {
    hint: 'enrol the device with "kinglet device enroll", or give --site, --device and --token-file',
  })

/** Who the device is: by the identity in its flash, else by what the command says. */
export function whoAmI(flash: Flash, run: SelfFlags): Self {
  const layout = layoutOf(flash)
  if (!layout.ok) throw new CommandFailure(`${run.flash}: ${layout.error.code}: ${layout.error.detail}`)
  const identity = readIdentity(flash, layout.value)
  const enrolled = identity?.active === undefined ? undefined : identity
  if (enrolled === undefined && run.tokenFile === undefined) {
    throw noIdentity(run.flash)
  }
  for (const what of ['site', 'device', 'board'] as const) {
    const given = run[what]
    const same = what === 'board' ? given : given && canonicalId(given)
    if (enrolled !== undefined && given !== undefined && same !== enrolled[what]) {
      throw new CommandFailure(`--${what} ${given}: the device is enrolled as ${enrolled[what]}`)
    }
  }
  const site = parseSiteId(enrolled?.site ?? run.site ?? '')
  const device = parseDeviceId(enrolled?.device ?? run.device ?? '')
  if (!site.ok || !device.ok) throw new CommandFailure('--site and --device are needed', { exitCode: 2 })
  return { site: site.value, device: device.value, seed: enrolled?.active, layout: layout.value }
}

/** Tokens for the device in a flash, fetched when they are needed. */
export function tokenSource(
  client: IdentityClient,
  flash: Flash,
  layout: FlashLayout,
  clock: Clock,
  told: (error: ContractError | undefined) => void,
): TokenSource {
  const jitter = seededRandom(new DataView(Uint8Array.from(secureRandom.bytes(4)).buffer).getUint32(0))
  return new TokenSource(() => client.tokenOf(flash, layout), clock, jitter, told)
}

/** What --tls-ca, --tls-cert and --tls-key name. */
export function readTls({ tlsCa, tlsCert, tlsKey }: SelfFlags) {
  const read = (path: string): Buffer => {
    try {
      return readFileSync(path)
    } catch (cause) {
      throw fileFailure(path, cause)
    }
  }
  return {
    ...(tlsCa !== undefined && { ca: read(tlsCa) }),
    ...(tlsCert !== undefined && { cert: read(tlsCert) }),
    ...(tlsKey !== undefined && { key: read(tlsKey) }),
  }
}
