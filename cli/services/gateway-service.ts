import pino from 'pino'
import type { Clock } from '../../contract/clock.ts'
import { seededRandom } from '../../contract/random.ts'
import { parseSiteId } from '../../contract/topics.ts'
import type { TlsPaths } from '../../gateway/broker/tls-files.ts'
import { startGateway } from '../../gateway/gateway.ts'
import { EngineOrtNode } from '../../model/engine/engine-ort-node.ts'
import { cloudAddress } from '../cloud-api.ts'
import { CommandFailure } from '../failure.ts'
import { secureRandom } from '../random-secure.ts'
import { serviceClock } from '../service-clock.ts'
import { readToken } from '../token-file.ts'
import { serve } from './serve.ts'
import { readVerifier } from './verifier-file.ts'

export interface GatewayFlags {
  readonly data: string
  readonly cloud: string
  readonly tokenFile: string
  readonly id: string
  readonly site?: readonly string[]
  readonly host: string
  readonly mqttPort: number
  readonly wsPort: number
  readonly httpPort: number
  readonly maxDownloads: number
  readonly maxDownloadBytesPerSecond: number
  readonly uplinkEveryMs: number
  readonly verifier: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly clientCa?: string
  readonly clock?: string
}

/** chosen: as many as the cloud takes in one question */
const SITES_MAX = 64

function siteIds(sites: readonly string[]): readonly string[] {
  if (sites.length > SITES_MAX) {
    throw new CommandFailure(`--site is given ${sites.length} times, at most ${SITES_MAX}`, {
      hint: 'without it the gateway holds the assignments of every site',
      exitCode: 2,
    })
  }
  return sites.map((site) => {
    const parsed = parseSiteId(site)
    if (!parsed.ok) throw new CommandFailure(`--site ${site}: ${parsed.error.detail}`, { exitCode: 2 })
    return parsed.value
  })
}

function tlsPaths({ tlsCert, tlsKey, clientCa }: GatewayFlags): TlsPaths | undefined {
  if ((tlsCert === undefined) !== (tlsKey === undefined) || (clientCa !== undefined && tlsCert === undefined)) {
    throw new CommandFailure('--tls-cert and --tls-key go together, and --client-ca with both', { exitCode: 2 })
  }
  return tlsCert === undefined || tlsKey === undefined ? undefined : { cert: tlsCert, key: tlsKey, clientCa }
}

/** @throws CommandFailure when there is no token in it: nothing is opened then */
function tokenFile(path: string): string {
  readToken(path)
  return path
}

/** Runs a gateway until it is ended. */
export const serveGateway = (flags: GatewayFlags, system: Clock): Promise<void> =>
  serve(() =>
    startGateway({
      dataDir: flags.data,
      gatewayId: flags.id,
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
      serviceTokenFile: tokenFile(flags.tokenFile),
      clock: serviceClock(system, flags.clock),
      random: seededRandom(new DataView(secureRandom.bytes(4).buffer).getUint32(0)),
      secureRandom,
      logger: pino(),
      engine: new EngineOrtNode(),
      verifier: { ...readVerifier(flags.verifier), labelsOfModel: 'bundles' },
      uplinkIntervalMs: flags.uplinkEveryMs,
      assignmentIdleMs: flags.uplinkEveryMs,
      // Half a minute at the usual second; a simulation that runs faster asks as often for its time.
      revocationPollMs: 30 * flags.uplinkEveryMs,
      tlsFiles: tlsPaths(flags),
    }),
  )
