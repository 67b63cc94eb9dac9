import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import pino from 'pino'
import * as z from 'zod'
import { startCloud } from '../../cloud/cloud.ts'
import type { Clock } from '../../contract/clock.ts'
import { seededRandom } from '../../contract/random.ts'
import type { TlsOptions } from '../../gateway/broker/listener-tls.ts'
import { GATEWAY_LIMITS, startGateway } from '../../gateway/gateway.ts'
import type { VerifierModel } from '../../gateway/verifier.ts'
import { EngineOrtNode } from '../../model/engine/engine-ort-node.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { firstIssue, readJsonFile } from '../json-file.ts'
import { integerOption } from '../number-option.ts'
import { zooFile } from '../package-root.ts'
import { secureRandom } from '../random-secure.ts'
import { serviceClock } from '../service-clock.ts'
import { readToken } from '../token-file.ts'

const port = integerOption(0, 65_535)

/** Runs a service until SIGINT or SIGTERM, then closes it in order. A service that a supervisor started with a channel ends with
 *  the supervisor too, even one that was killed. */
async function serve(start: () => Promise<{ close(): Promise<void> }>): Promise<void> {
  const supervised = process.connected === true
  let service: { close(): Promise<void> }
  try {
    service = await start()
  } catch (cause) {
    if (cause instanceof CommandFailure) throw cause
    const { code } = cause as NodeJS.ErrnoException
    const hint =
      code === 'EADDRINUSE' ? 'another process has that port; give another with the --…port option' : undefined
    throw new CommandFailure(cause instanceof Error ? cause.message : String(cause), { cause, ...(hint && { hint }) })
  }
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
    if (!supervised) return
    process.once('disconnect', () => resolve())
    if (!process.connected) resolve()
  })
  await service.close()
  // An open channel would keep the process.
  if (process.connected) process.disconnect()
}

interface CloudFlags {
  readonly data: string
  readonly host: string
  readonly port: number
  readonly publicReads?: boolean
  readonly evaluateEveryMs: number
  readonly driftBaselineHours: number
  readonly clock?: string
}

/** `kinglet cloud …` */
export function cloudCommand(system: Clock): Command {
  const cloud = new Command('cloud').description('registry, rollouts, gates, telemetry and the HTTP API')
  cloud
    .command('run')
    .description('run the cloud; keys and the operator token are made in --data at the first start')
    .requiredOption('--data <DIR>', 'folder of the database, artifacts and keys')
    .option('--host <ADDRESS>', 'address to listen on', '127.0.0.1')
    .option('--port <N>', 'port of the HTTP API and status page', port, 8080)
    .option('--public-reads', 'let GET requests pass without a token: for a laptop, never for a network')
    .option(
      '--evaluate-every-ms <MS>',
      'how often gates and drift are looked at',
      integerOption(100, 86_400_000),
      900_000,
    )
    .option(
      '--drift-baseline-hours <H>',
      'first hours on a model that drift is measured against',
      integerOption(2, 720),
      24,
    )
    .option('--clock <FILE>', 'clock file of a simulation (default: this machine’s clock)')
    .action((flags: CloudFlags) =>
      serve(() =>
        startCloud({
          dataDir: flags.data,
          host: flags.host,
          port: flags.port,
          clock: serviceClock(system, flags.clock),
          secureRandom,
          logger: pino(),
          publicReads: flags.publicReads === true,
          evaluateEveryMs: flags.evaluateEveryMs,
          drift: { baselineHours: flags.driftBaselineHours },
        }),
      ),
    )
  return cloud
}

interface GatewayFlags {
  readonly data: string
  readonly cloud: string
  readonly tokenFile: string
  readonly id: string
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

const verifierFileSchema = z.object({
  labels: z.array(z.string()),
  input: z.object({ scale: z.number(), zeroPoint: z.int() }),
})

/** Reads a verifier: NAME.onnx and, beside it, NAME.json with labels and feature quantization. */
function readVerifier(path: string): VerifierModel {
  const describing = path.replace(/\.onnx$/, '.json')
  const parsed = verifierFileSchema.safeParse(readJsonFile(describing))
  if (!parsed.success) throw new CommandFailure(`${describing}: ${firstIssue(parsed.error)}`)
  const { labels, input } = parsed.data
  try {
    return { graph: readFileSync(path), labels, featureQuantization: input }
  } catch (cause) {
    throw fileFailure(path, cause)
  }
}

function readTls({ tlsCert, tlsKey, clientCa }: GatewayFlags): TlsOptions | undefined {
  if ((tlsCert === undefined) !== (tlsKey === undefined) || (clientCa !== undefined && tlsCert === undefined)) {
    throw new CommandFailure('--tls-cert and --tls-key go together, and --client-ca with both', { exitCode: 2 })
  }
  if (tlsCert === undefined || tlsKey === undefined) return undefined
  const read = (path: string): Buffer => {
    try {
      return readFileSync(path)
    } catch (cause) {
      throw fileFailure(path, cause)
    }
  }
  return { cert: read(tlsCert), key: read(tlsKey), clientCa: clientCa === undefined ? undefined : read(clientCa) }
}

/** `kinglet gateway …` */
export function gatewayCommand(system: Clock): Command {
  const gateway = new Command('gateway').description('MQTT broker, verifier, aggregation and artifact cache of a site')
  gateway
    .command('run')
    .description('run a gateway between devices and the cloud')
    .requiredOption('--data <DIR>', 'folder of its store and artifact cache')
    .requiredOption('--cloud <URL>', 'address of the cloud')
    .requiredOption('--token-file <FILE>', 'file with a service token of role "gateway" ("kinglet token make")')
    .option('--id <ID>', 'name of this gateway', 'gateway-1')
    .option('--host <ADDRESS>', 'address the broker listens on', '127.0.0.1')
    .option('--mqtt-port <N>', 'port of MQTT over TCP', port, 1883)
    .option('--ws-port <N>', 'port of MQTT over WebSocket', port, 8083)
    .option('--http-port <N>', 'port of /healthz, /metrics, /metadata and /v1/artifacts', port, 9100)
    .option(
      '--max-downloads <N>',
      'requests for blocks under way at a time, all devices together',
      integerOption(1, 1_000_000),
      GATEWAY_LIMITS.downloads.concurrent,
    )
    .option(
      '--max-download-bytes-per-second <BYTES>',
      'bytes of artifacts a second, all devices together',
      integerOption(1_024, 1e12),
      GATEWAY_LIMITS.downloads.bytesPerSecond,
    )
    .option(
      '--uplink-every-ms <MS>',
      'how often batches go to the cloud and an idle assignment feed is asked again',
      integerOption(10, 86_400_000),
      1_000,
    )
    .option('--tls-cert <FILE>', 'certificate for both device-facing ports, PEM; they then speak TLS only')
    .option('--tls-key <FILE>', 'its key, PEM')
    .option(
      '--client-ca <FILE>',
      'authority of the devices’ certificates, PEM; a device then needs one with its id as CN',
    )
    .option('--verifier <FILE>', 'verifier network, with its .json beside it', zooFile('models', 'verifier.onnx'))
    .option('--clock <FILE>', 'clock file of a simulation (default: this machine’s clock)')
    .action((flags: GatewayFlags) =>
      serve(() =>
        startGateway({
          dataDir: flags.data,
          gatewayId: flags.id,
          host: flags.host,
          mqttPort: flags.mqttPort,
          wsPort: flags.wsPort,
          httpPort: flags.httpPort,
          cloudUrl: flags.cloud,
          limits: {
            downloads: {
              concurrent: flags.maxDownloads,
              bytesPerSecond: flags.maxDownloadBytesPerSecond,
              // A second of it may come at once.
              burstBytes: flags.maxDownloadBytesPerSecond,
            },
          },
          serviceToken: readToken(flags.tokenFile),
          clock: serviceClock(system, flags.clock),
          random: seededRandom(new DataView(secureRandom.bytes(4).buffer).getUint32(0)),
          secureRandom,
          logger: pino(),
          engine: new EngineOrtNode(),
          verifier: readVerifier(flags.verifier),
          uplinkIntervalMs: flags.uplinkEveryMs,
          assignmentIdleMs: flags.uplinkEveryMs,
          // Half a minute at the usual second; a simulation that runs faster asks as often for its time.
          revocationPollMs: 30 * flags.uplinkEveryMs,
          tls: readTls(flags),
        }),
      ),
    )
  return gateway
}
