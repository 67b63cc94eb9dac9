import { join } from 'node:path'
import type { Client } from 'aedes'
import type { JSONWebKeySet } from 'jose'
import type { Clock } from '../contract/clock.ts'
import { verdictCodec } from '../contract/messages.ts'
import type { SecureRandom, SeededRandom } from '../contract/random.ts'
import { type DeviceId, type SiteId, topicOf } from '../contract/topics.ts'
import type { Engine } from '../model/engine/engine.ts'
import { BROKER_LIMITS, Broker, type BrokerLimits } from './broker/broker.ts'
import { DeviceLink } from './broker/device-link.ts'
import { IdentityRelay } from './broker/identity-relay.ts'
import { Ingest } from './broker/ingest.ts'
import { KeySource } from './broker/key-source.ts'
import type { TlsOptions } from './broker/listener-tls.ts'
import { Revocations } from './broker/revocations.ts'
import { Takeovers } from './broker/takeovers.ts'
import { Assignments } from './cloud-link/assignments.ts'
import { CloudClient } from './cloud-link/cloud-client.ts'
import { Uplink } from './cloud-link/uplink.ts'
import { Allowances, type TotalLimits } from './downloads/allowance.ts'
import { ARTIFACT_CACHE_LIMITS, ArtifactCache, type ArtifactCacheLimits } from './downloads/artifact-cache.ts'
import { ArtifactServer } from './downloads/artifact-server.ts'
import { BLOCK_LIMITS, type BlockLimits, BlockServer } from './downloads/block-server.ts'
import { DOWNLOAD_LIMITS } from './downloads/download-limits.ts'
import { MetadataCache } from './downloads/metadata-cache.ts'
import { MetadataServer } from './downloads/metadata-server.ts'
import { OperatorHttp } from './http.ts'
import type { GatewayLogger } from './logger.ts'
import { MessageCounters } from './message-counters.ts'
import { GatewayMetrics } from './metrics.ts'
import { HOUR_MS } from './store/aggregation.ts'
import type { PendingWake } from './store/pending-wakes.ts'
import { SUM_NAMES, type SumName } from './store/report-timeline.ts'
import type { SpoolLimits } from './store/spool.ts'
import { StoreClient } from './store/store-client.ts'
import { Verifier, type VerifierModel } from './verifier.ts'

/** Every bound of a gateway; each part's file says what happens there. */
export interface GatewayLimits {
  readonly broker: BrokerLimits
  /** of each device, blocks over MQTT and artifacts over HTTP together */
  readonly blocks: BlockLimits
  /** of all devices together */
  readonly downloads: TotalLimits
  readonly artifacts: ArtifactCacheLimits
  readonly spool: SpoolLimits
  /** wakes on disk that wait for the verifier */
  readonly pendingWakes: number
}

export const GATEWAY_LIMITS: GatewayLimits = {
  broker: BROKER_LIMITS,
  blocks: BLOCK_LIMITS,
  downloads: DOWNLOAD_LIMITS,
  artifacts: ARTIFACT_CACHE_LIMITS,
  // chosen: about 100 MB of reports, a month of 240 devices or seven hours of 14 000
  spool: { reportsMax: 100_000, eventsMax: 100_000, verdictsMax: 500_000 },
  // chosen: 30 MB of feature maps
  pendingWakes: 50_000,
}

export interface GatewayOptions {
  /** store and artifact folder; one process at a time */
  readonly dataDir: string
  /** names this gateway to the cloud; default "gateway-1" */
  readonly gatewayId?: string
  /** of the broker; default 127.0.0.1 */
  readonly host?: string
  /** 0: any free port, the default of all three */
  readonly mqttPort?: number
  readonly wsPort?: number
  readonly httpPort?: number
  /** of both ports that devices come to; default: none, in the clear */
  readonly tls?: TlsOptions | undefined
  /** of /healthz, /metrics, metadata and artifacts; default 127.0.0.1 */
  readonly httpHost?: string
  readonly cloudUrl: string
  readonly serviceToken: string
  /** public keys of device tokens; default: the cloud's, kept on disk */
  readonly jwks?: JSONWebKeySet
  readonly clock: Clock
  readonly random: SeededRandom
  readonly secureRandom: SecureRandom
  readonly logger: GatewayLogger
  /** without both, wakes are counted and not judged */
  readonly engine?: Engine
  readonly verifier?: VerifierModel
  readonly limits?: Partial<GatewayLimits>
  /** how long the first message of a commit waits for company, ms of the clock; default 2 */
  readonly commitWindowMs?: number
  /** between two batches to the cloud, ms of the clock; default 1000 */
  readonly uplinkIntervalMs?: number
  /** rows of a kind in a batch; default 500: with the interval 1.8 million reports an hour, and 10 ms of the store's thread at a time */
  readonly uplinkBatchRows?: number
  /** how long the cloud may hold the assignment feed open, 0 to 25; default 25 */
  readonly assignmentWaitSeconds?: number
  /** between two requests of an idle feed, ms of the clock; default 200 */
  readonly assignmentIdleMs?: number
  /** the store on the broker's thread instead of one of its own, as a program that runs from TypeScript sources needs it
   *  (store-client.ts); default false */
  readonly storeInProcess?: boolean
  /** between two looks at the cloud's revocations, ms of the clock: a revoked device is cut off within this; default 30 s */
  readonly revocationPollMs?: number
}

export interface GatewayStats {
  /** what came of messages, requests and rows, by kind and outcome, since the start */
  readonly messages: Readonly<Record<string, Readonly<Record<string, number>>>>
  /** transactions of the store and the messages and verdicts in them */
  readonly commits: { readonly commits: number; readonly works: number }
  readonly depths: Readonly<
    Record<'connectedDevices' | 'spoolReports' | 'spoolEvents' | 'pendingWakes' | 'artifactBytes', number>
  >
}

export interface Gateway {
  readonly mqttPort: number
  readonly wsPort: number
  readonly httpPort: number
  stats(): GatewayStats
  /** counters of a device summed over all its boots */
  deviceSums(device: string): Promise<Readonly<Record<SumName, number>>>
  /** Acknowledges what it has, ends connections, stops. What is not delivered or judged stays on disk. */
  close(): Promise<void>
}

/** chosen: unsent bytes of a device's socket past which a block is dropped; the device asks again */
const UNSENT_BYTES_MAX = 65_536

/** Starts a gateway on real sockets and a real store. Missing keys or a missing cloud do not stop it: devices are refused until keys
 *  come, everything else waits in the store.
 *  @throws when a port or the store cannot be opened or the verifier's graph cannot be loaded; nothing stays open then */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { dataDir, logger, gatewayId = 'gateway-1' } = options
  const limits = { ...GATEWAY_LIMITS, ...options.limits }
  const counters = new MessageCounters()
  const verifies = options.engine !== undefined && options.verifier !== undefined
  const store = await StoreClient.open(
    { dataDir, gatewayId, spool: limits.spool, pendingWakesMax: limits.pendingWakes, verifies },
    options.storeInProcess ?? false,
    counters,
    logger,
  )
  /** What must be closed, the newest last. */
  const opened: { close(): Promise<unknown> }[] = [store]
  try {
    return await compose(options, limits, counters, store, opened)
  } catch (cause) {
    for (const part of opened.reverse()) await part.close()
    throw cause
  }
}

async function compose(
  options: GatewayOptions,
  limits: GatewayLimits,
  counters: MessageCounters,
  store: StoreClient,
  opened: { close(): Promise<unknown> }[],
): Promise<Gateway> {
  const { clock, random, logger } = options
  const cloud = new CloudClient(options.cloudUrl, options.serviceToken)
  const shared = { clock, random, logger, counters, store, cloud }
  const keys = new KeySource(
    options.jwks === undefined ? cloud : undefined,
    await store.ask('setting', 'jwks'),
    (jwks) => store.ask('keepSetting', 'jwks', jwks),
    clock,
    logger,
    options.jwks,
  )

  const publish = (topic: string, payload: Uint8Array, qos: 0 | 1, retain: boolean): void => {
    const packet = { cmd: 'publish', topic, payload: Buffer.from(payload), qos, retain, dup: false } as const
    broker.aedes.publish(packet, (error) => {
      if (error) counters.add('downlink', 'failed')
    })
  }
  const publishVerdict = ({ site, device, boot, index }: PendingWake, confirmed: boolean): void =>
    publish(
      topicOf(site as SiteId, device as DeviceId, 'verdict'),
      verdictCodec.encode({ boot, index, confirmed }),
      0,
      false,
    )
  const verifier =
    options.engine === undefined || options.verifier === undefined
      ? undefined
      : await Verifier.open({ ...shared, publishVerdict }, options.verifier, options.engine)
  if (verifier !== undefined) opened.push(verifier)
  const assignments = new Assignments(
    { ...shared, random: random.fork('assignments'), publish: (topic, payload) => publish(topic, payload, 1, true) },
    options.assignmentWaitSeconds ?? 25,
    options.assignmentIdleMs ?? 200,
  )
  const ingest = new Ingest(
    {
      ...shared,
      wakesAdded: () => verifier?.wake(),
      assignmentMissed: (held) => assignments.repeat(held),
    },
    options.commitWindowMs ?? 2,
  )
  opened.push(ingest)
  const cache = new ArtifactCache(
    join(options.dataDir, 'artifacts'),
    { ...shared, secureRandom: options.secureRandom },
    limits.artifacts,
  )
  const send = ({ device }: { readonly device: string }, topic: string, payload: Uint8Array): boolean => {
    const client = link.client(device)
    if (client === undefined || client.conn.writableLength > UNSENT_BYTES_MAX) return false
    publish(topic, payload, 0, false)
    return true
  }
  const allowances = new Allowances(clock, limits.blocks, limits.downloads)
  const blocks = new BlockServer({ counters, cache, allowances, send })
  const metadata = new MetadataServer({ ...shared, cache: new MetadataCache(shared), send })
  const revocations = new Revocations(
    {
      ...shared,
      stored: await store.ask('setting', 'revocations'),
      keep: (list) =>
        store
          .ask('keepSetting', 'revocations', list)
          .catch((error: unknown) => logger.error({ error }, 'revocations could not be kept')),
      revoked: (device) => link.revoked(device),
    },
    options.revocationPollMs ?? 30_000,
  )
  const link = new DeviceLink({
    ...shared,
    keys,
    ingest,
    revocations,
    takeovers: new Takeovers(shared),
    certified: (connection) => broker.certified(connection),
    get: (session, payload) => void blocks.handle(session, payload),
    metaGet: (session, payload) => void metadata.handle(session, payload),
  })

  const depths = (): GatewayStats['depths'] => {
    const { spoolReports, spoolEvents, pendingWakes } = store.figures
    return { connectedDevices: link.connected, spoolReports, spoolEvents, pendingWakes, artifactBytes: cache.bytes }
  }
  const metrics = new GatewayMetrics({
    counters,
    depths,
    nowMs: () => clock.wallMs(),
    cellsSince: (hourMs) => store.ask('cellsSince', hourMs),
  })
  const listen = {
    host: options.host ?? '127.0.0.1',
    mqttPort: options.mqttPort ?? 0,
    wsPort: options.wsPort ?? 0,
    tls: options.tls,
    onRequest: new IdentityRelay(shared).answer,
  }
  const broker = await Broker.listen(listen, link.handlers, limits.broker, counters)
  opened.push(broker)
  broker.aedes.on('unsubscribe', (filters: string[], client: Client) => link.unsubscribed(client, filters))
  const health = () => ({ ok: store.isOpen, detail: depths() })
  const http = await OperatorHttp.listen(
    options.httpHost ?? '127.0.0.1',
    options.httpPort ?? 0,
    metrics,
    health,
    metadata,
    new ArtifactServer({ ...shared, cache, keys, revocations, allowances }),
  )
  opened.push(http)

  const uplink = new Uplink(
    { ...shared, random: random.fork('uplink') },
    options.uplinkIntervalMs ?? 1_000,
    options.uplinkBatchRows ?? 500,
  )
  let cancelUpkeep = (): void => {}
  const upkeep = (): void => {
    store.ask('upkeep', clock.wallMs()).catch((error: unknown) => logger.error({ error }, 'upkeep failed'))
    cancelUpkeep = clock.after(HOUR_MS, upkeep)
  }
  await assignments.start()
  upkeep()
  void keys.refresh()
  revocations.start()
  uplink.start()
  verifier?.wake()
  logger.info({ mqttPort: broker.mqttPort, wsPort: broker.wsPort, httpPort: http.port }, 'gateway listens')

  return {
    mqttPort: broker.mqttPort,
    wsPort: broker.wsPort,
    httpPort: http.port,
    stats: () => ({ messages: counters.snapshot(), commits: store.figures.commits, depths: depths() }),
    deviceSums: async (device) => {
      const sums = await store.ask('deviceSums', device)
      return Object.fromEntries(SUM_NAMES.map((name, i) => [name, sums[i]!])) as Record<SumName, number>
    },
    async close() {
      cancelUpkeep()
      revocations.close()
      cloud.close()
      await Promise.all([assignments.close(), uplink.close(), verifier?.close(), http.close()])
      // What is queued is still acknowledged; what comes after this is refused and sent again elsewhere.
      await ingest.close()
      link.close()
      await broker.close()
      await store.close()
      logger.info({}, 'gateway stopped')
    },
  }
}
