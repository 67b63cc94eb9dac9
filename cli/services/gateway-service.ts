import { existsSync } from 'node:fs'
import { join } from 'node:path'
import pino from 'pino'
import type { Clock } from '../../contract/clock.ts'
import { type GatewayClaimFile, gatewayClaimFileSchema } from '../../contract/enrolment.ts'
import { LIMITS } from '../../contract/limits.ts'
import { seededRandom } from '../../contract/random.ts'
import { parseSiteId } from '../../contract/topics.ts'
import { startGateway } from '../../gateway/gateway.ts'
import { cloudAddress } from '../cloud-api.ts'
import { bundleEngine } from '../engines.ts'
import { CommandFailure } from '../failure.ts'
import { readJsonFile } from '../json-file.ts'
import { secureRandom } from '../random-secure.ts'
import { keepToOwner } from '../secret-file.ts'
import { serviceClock } from '../service-clock.ts'
import { readToken } from '../token-file.ts'
import { type ListenFlags, tlsOf } from './listening.ts'
import { serve } from './serve.ts'
import { readVerifier } from './verifier-file.ts'

export interface GatewayFlags extends ListenFlags {
  readonly data: string
  readonly cloud: string
  readonly claim?: string
  readonly tokenFile?: string
  readonly id?: string
  readonly site?: readonly string[]
  readonly mqttPort: number
  readonly wsPort: number
  readonly httpPort: number
  readonly maxDownloads: number
  readonly maxDownloadBytesPerSecond: number
  readonly uplinkEveryMs: number
  readonly verifier: string
  readonly clock?: string
}

function siteIds(sites: readonly string[]): readonly string[] {
  if (sites.length > LIMITS.gatewaySites) {
    throw new CommandFailure(`--site is given ${sites.length} times, at most ${LIMITS.gatewaySites}`, {
      hint: 'without it the gateway holds the assignments of every site that it is enrolled for',
      exitCode: 2,
    })
  }
  return sites.map((site) => {
    const parsed = parseSiteId(site)
    if (!parsed.ok) throw new CommandFailure(`--site ${site}: ${parsed.error.detail}`, { exitCode: 2 })
    return parsed.value
  })
}

/** @throws CommandFailure when there is no token in it: nothing is opened then */
function tokenFile(path: string | undefined): string | undefined {
  if (path !== undefined) readToken(path)
  return path
}

function gatewayClaim(path: string | undefined): GatewayClaimFile | undefined {
  if (path === undefined) return undefined
  const parsed = gatewayClaimFileSchema.safeParse(readJsonFile(path))
  if (parsed.success) {
    keepToOwner(path)
    return parsed.data
  }
  throw new CommandFailure(`${path} is no claim of a gateway`, {
    hint: 'an operator makes one with "kinglet gateway claim"',
  })
}

/** How the cloud is to know the gateway. */
function credentials({ claim, tokenFile: path, data, id }: GatewayFlags) {
  const serviceTokenFile = tokenFile(path)
  if (claim !== undefined && path !== undefined) {
    throw new CommandFailure('--claim gives the gateway a key, and then it needs no --token-file', { exitCode: 2 })
  }
  // Once it is enrolled the claim may be gone.
  const isEnrolled = existsSync(join(data, 'identity.json'))
  if (claim === undefined && path === undefined && !isEnrolled) {
    throw new CommandFailure('the cloud does not know this gateway', {
      hint: 'an operator makes a claim with "kinglet gateway claim NAME --site SITE -o FILE"; give it with --claim',
      exitCode: 2,
    })
  }
  return {
    ...(id !== undefined && { gatewayId: id }),
    ...(serviceTokenFile !== undefined && { serviceTokenFile }),
    claim: claim !== undefined && isEnrolled && !existsSync(claim) ? undefined : gatewayClaim(claim),
  }
}

/** Runs a gateway until it is ended. */
export const serveGateway = (flags: GatewayFlags, system: Clock): Promise<void> => {
  const tls = tlsOf(flags)
  return serve(() =>
    startGateway({
      dataDir: flags.data,
      ...credentials(flags),
      sites: siteIds(flags.site ?? []),
      host: flags.host,
      mqttPort: flags.mqttPort,
      wsPort: flags.wsPort,
      httpPort: flags.httpPort,
      cloudUrl: cloudAddress(flags.cloud),
      limits: {
        downloads: {
          concurrent: flags.maxDownloads,
          bytesPerSecond: flags.maxDownloadBytesPerSecond,
          // A second of it may come at once.
          burstBytes: flags.maxDownloadBytesPerSecond,
        },
      },
      clock: serviceClock(system, flags.clock),
      random: seededRandom(new DataView(secureRandom.bytes(4).buffer).getUint32(0)),
      secureRandom,
      logger: pino(),
      engine: bundleEngine(),
      verifier: { ...readVerifier(flags.verifier), labelsOfModel: 'bundles' },
      uplinkIntervalMs: flags.uplinkEveryMs,
      assignmentIdleMs: flags.uplinkEveryMs,
      // Half a minute at the usual second; a simulation that runs faster asks as often for its time.
      revocationPollMs: 30 * flags.uplinkEveryMs,
      tlsFiles: tls,
    }),
  )
}
