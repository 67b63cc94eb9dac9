import { Command } from 'commander'
import type { Clock } from '../../contract/clock.ts'
import { DOWNLOAD_LIMITS } from '../../gateway/downloads/download-limits.ts'
import { CA_WORDS, type CloudFlags as CloudAccess, withCloud } from '../cloud-option.ts'
import { eachIdOption, idOption } from '../id-option.ts'
import { integerOption } from '../number-option.ts'
import { zooFile } from '../package-root.ts'
import type { CloudFlags } from './cloud-service.ts'
import type { GatewayClaimFlags } from './gateway-admin.ts'
import type { GatewayFlags } from './gateway-service.ts'
import { retainHelp, retainOption } from './retain-option.ts'

const port = integerOption(0, 65_535)

const eachValue = (text: string, before: readonly string[] = []): readonly string[] => [...before, text]

/** `kinglet cloud …` */
export function cloudCommand(system: Clock): Command {
  const cloud = new Command('cloud').description('registry, rollouts, gates, telemetry and the HTTP API')
  cloud
    .command('run')
    .description('run the cloud; keys and the operator token are made in --data at the first start')
    .requiredOption('--data <DIR>', 'folder of the database, artifacts and keys')
    .option('--host <ADDRESS>', 'address to listen on', '127.0.0.1')
    .option('--port <N>', 'port of the HTTP API and status page', port, 8080)
    .option(
      '--tls-cert <FILE>',
      'certificate, PEM; the port then speaks TLS only, and a new one is taken as soon as it is there',
    )
    .option('--tls-key <FILE>', 'its key, PEM')
    .option('--insecure', 'listen on more than this machine without TLS: where something else encrypts')
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
    .option('--alert-webhook <URL>', 'post every alert there when it is raised and when it is over (default: nowhere)')
    .option('--alert-webhook-secret <FILE>', 'signs what is posted: "whsec_" and 24 to 64 bytes as base64')
    .option(
      '--alert-heartbeat-minutes <N>',
      'how often that receiver is told that the cloud is alive; 0: never',
      integerOption(0, 1_440),
      5,
    )
    .option(
      '--verifier <FILE>',
      'the verifier network of the gateways, with its .json beside it: a share of their verdicts is judged again, and one that lies is found (default: none is)',
    )
    .option('--oidc-issuer <URL>', 'OpenID provider whose tokens of people are taken beside those of this cloud')
    .option('--oidc-audience <NAME>', 'what its tokens call this cloud')
    .option('--oidc-admin <GROUP>', 'a group whose members may do everything; may be repeated', eachValue)
    .option('--oidc-release-manager <GROUP>', 'a group whose members say what devices run; may be repeated', eachValue)
    .option('--oidc-operator <GROUP>', 'a group whose members are operators; may be repeated', eachValue)
    .option('--oidc-viewer <GROUP>', 'a group whose members may read; may be repeated', eachValue)
    .option('--oidc-role-claim <CLAIM>', 'claim with the groups of a person, such as realm_access.roles', 'groups')
    .option('--oidc-name-claim <CLAIM>', 'claim with the name for the audit log, such as email', 'sub')
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
  cloud
    .command('backup')
    .description('copy database, artifacts, keys and operator token of a cloud, which may run meanwhile')
    .argument('<INTO>', 'folder to make; it must not be there, or be empty')
    .requiredOption('--data <DIR>', 'folder of the cloud')
    .action(async (into: string, { data }: { data: string }) =>
      (await import('./cloud-backup.ts')).backUp(data, into, system),
    )
  cloud
    .command('restore')
    .description('make the folder of a cloud from a backup, after checking all of it')
    .argument('<FROM>', 'folder that "cloud backup" has made')
    .requiredOption('--data <DIR>', 'folder to make; it must not be there, or be empty')
    .action(async (from: string, { data }: { data: string }) =>
      (await import('./cloud-backup.ts')).restore(from, data, system),
    )
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
    .option(
      '--claim <FILE>',
      'claim of "kinglet gateway claim": enrols it with a key of its own, kept in --data; not needed afterwards',
    )
    .option(
      '--token-file <FILE>',
      'in place of a key: file with a service token of role "gateway" ("kinglet token make"); it is renewed there',
    )
    .option('--id <ID>', 'name of this gateway (default: that of its claim or token)', idOption)
    .option(
      '--site <ID>',
      'hold assignments of this site only; may be repeated (default: every site that it is enrolled for)',
      eachIdOption,
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
    .option('--insecure', 'listen on more than this machine without TLS: where something else encrypts')
    .option('--ca <FILE>', CA_WORDS)
    .option('--verifier <FILE>', 'verifier network, with its .json beside it', zooFile('models', 'verifier.onnx'))
    .option('--clock <FILE>', 'clock file of a simulation (default: this machine’s clock)')
    .action(async (flags: GatewayFlags) => (await import('./gateway-service.ts')).serveGateway(flags, system))
  withCloud(gateway.command('list'))
    .description(
      'gateways: their state and sites, when they last sent telemetry and how much; SILENT after two hours without any',
    )
    .option('--json', 'as JSON lines')
    .action(async (flags: CloudAccess & { json?: boolean }) => (await import('./gateway-admin.ts')).listGateways(flags))
  withCloud(gateway.command('show'))
    .description('one gateway as JSON: sites, key, state and why, rows taken and refused')
    .argument('<NAME>', 'the gateway', idOption)
    .action(async (name: string, flags: CloudAccess) => (await import('./gateway-admin.ts')).showGateway(name, flags))
  withCloud(gateway.command('claim'))
    .description('make a one-time claim with which one gateway enrols itself; a secret')
    .argument('<NAME>', 'name of the gateway, another for each', idOption)
    .requiredOption('--site <ID>', 'a site that it may speak for; may be repeated', eachIdOption)
    .option('--ttl-hours <H>', 'how long the claim is good', integerOption(1, 744), 24)
    .option('--replace', 'the gateway is enrolled already, and the claim puts a new key and these sites in its place')
    .requiredOption('-o, --out <FILE>', 'where to write it')
    .action(async (name: string, flags: CloudAccess & GatewayClaimFlags) =>
      (await import('./gateway-admin.ts')).claimGateway(name, flags),
    )
  for (const [change, description] of [
    ['revoke', 'end the key and the tokens of a gateway; what it has said stays evidence'],
    ['quarantine', 'take all that a gateway says out of rollouts, drift and figures; its rows are kept'],
    ['release', 'end a quarantine: the rows of the gateway count again'],
  ] as const) {
    withCloud(gateway.command(change))
      .description(description)
      .argument('<NAME>', 'the gateway', idOption)
      .requiredOption('--reason <TEXT>', 'why; it stands in the audit')
      .action(async (name: string, flags: CloudAccess & { reason: string }) =>
        (await import('./gateway-admin.ts')).changeGateway(name, change, flags),
      )
  }
  return gateway
}
