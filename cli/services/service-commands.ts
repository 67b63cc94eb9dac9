import { Command } from 'commander'
import type { Clock } from '../../contract/clock.ts'
import { DOWNLOAD_LIMITS } from '../../gateway/downloads/download-limits.ts'
import { type CloudFlags as CloudAccess, withCloud } from '../cloud-option.ts'
import { idOption } from '../id-option.ts'
import { integerOption } from '../number-option.ts'
import { zooFile } from '../package-root.ts'
import type { CloudFlags } from './cloud-service.ts'
import type { GatewayFlags } from './gateway-service.ts'
import { retainHelp, retainOption } from './retain-option.ts'

const port = integerOption(0, 65_535)

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
    .option(
      '--gateway-silent-hours <H>',
      'how long a gateway that has sent telemetry may be unheard before an alert says so',
      integerOption(1, 8_760),
      2,
    )
    .option(
      '--verifier <FILE>',
      'the verifier network of the gateways, with its .json beside it: a share of their verdicts is judged again, and one that lies is found (default: none is)',
    )
    .option('--retain <WHAT=DAYS>', 'days that rows of a kind are kept, see below; may be repeated', retainOption)
    .option('--clock <FILE>', 'clock file of a simulation (default: this machine’s clock)')
    .addHelpText('after', () => `\n${retainHelp()}`)
    .action(async (flags: CloudFlags) => (await import('./cloud-service.ts')).serveCloud(flags, system))
  cloud
    .command('compact')
    .description(
      'give the space of dropped rows back to the disk; the cloud must not run, and the disk needs room for a copy',
    )
    .requiredOption('--data <DIR>', 'folder of the database')
    .action(async ({ data }: { data: string }) => (await import('./cloud-compact.ts')).compactCloud(data))
  return cloud
}

/** `kinglet gateway …` */
export function gatewayCommand(system: Clock): Command {
  const gateway = new Command('gateway').description('MQTT broker, verifier, aggregation and artifact cache of a site')
  gateway
    .command('run')
    .description('run a gateway between devices and the cloud')
    .requiredOption('--data <DIR>', 'folder of its store and artifact cache')
    .requiredOption('--cloud <URL>', 'address of the cloud')
    .requiredOption(
      '--token-file <FILE>',
      'file with a service token of role "gateway" ("kinglet token make"); it is renewed there before it expires',
    )
    .option('--id <ID>', 'name of this gateway', idOption, 'gateway-1')
    .option(
      '--site <ID>',
      'a site whose devices come here; may be repeated (default: every site, which costs memory for the whole fleet)',
      (site: string, sites: readonly string[] = []) => [...sites, idOption(site)],
    )
    .option('--host <ADDRESS>', 'address the broker listens on', '127.0.0.1')
    .option('--mqtt-port <N>', 'port of MQTT over TCP', port, 1883)
    .option('--ws-port <N>', 'port of MQTT over WebSocket', port, 8083)
    .option('--http-port <N>', 'port of /healthz, /readyz, /metrics, /metadata and /v1/artifacts', port, 9100)
    .option(
      '--max-downloads <N>',
      'requests for blocks under way at a time, all devices together',
      integerOption(1, 1_000_000),
      DOWNLOAD_LIMITS.concurrent,
    )
    .option(
      '--max-download-bytes-per-second <BYTES>',
      'bytes of artifacts a second, all devices together',
      integerOption(1_024, 1e12),
      DOWNLOAD_LIMITS.bytesPerSecond,
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
    .action(async (flags: GatewayFlags) => (await import('./gateway-service.ts')).serveGateway(flags, system))
  withCloud(gateway.command('list'))
    .description(
      'gateways that have sent telemetry: when last, how much, for which sites; SILENT after two hours without any',
    )
    .option('--json', 'as JSON lines')
    .action(async (flags: CloudAccess & { json?: boolean }) => (await import('./gateway-list.ts')).listGateways(flags))
  return gateway
}
