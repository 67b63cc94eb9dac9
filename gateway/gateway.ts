import { join } from 'node:path'
import type { Client } from 'aedes'
import type { JSONWebKeySet } from 'jose'
import type { Clock } from '../contract/clock.ts'
import { verdictCodec } from '../contract/messages.ts'
import type { SecureRandom, SeededRandom } from '../contract/random.ts'
import { type DeviceId, type SiteId, topicOf } from '../contract/topics.ts'
import type { Engine } from '../model/engine.ts'
import { AggregateTable, HOUR_MS, hourOf } from './aggregation.ts'
import { ARTIFACT_CACHE_LIMITS, ArtifactCache, type ArtifactCacheLimits } from './artifact-cache.ts'
import { Assignments } from './assignments.ts'
import { BLOCK_LIMITS, type BlockLimits, BlockServer } from './block-server.ts'
import { BROKER_LIMITS, Broker, type BrokerLimits } from './broker.ts'
import { Checkpoint } from './checkpoint.ts'
import { CloudClient } from './cloud-client.ts'
import { DeviceLink } from './device-link.ts'
import { DeviceTable } from './device-table.ts'
import { GroupCommit } from './group-commit.ts'
import { OperatorHttp } from './http.ts'
import { Ingest } from './ingest.ts'
import { KeySource } from './key-source.ts'
import type { GatewayLogger } from './logger.ts'
import { MessageCounters } from './message-counters.ts'
import { MetadataCache } from './metadata-cache.ts'
import { MetadataServer } from './metadata-server.ts'
import { GatewayMetrics } from './metrics.ts'
import { type PendingWake, PendingWakes } from './pending-wakes.ts'
import { SUM_NAMES, type SumName } from './report-timeline.ts'
import { Spool, type SpoolBatch, type SpoolKind, type SpoolLimits } from './spool.ts'
import { openStore, Settings } from './store.ts'
import { Uplink } from './uplink.ts'
import { Verifier, type VerifierModel } from './verifier.ts'

/** Every bound of a gateway; each part's file says what happens there. */
export interface GatewayLimits {
  readonly broker: BrokerLimits
  readonly blocks: BlockLimits
  readonly artifacts: ArtifactCacheLimits
  readonly spool: SpoolLimits
  /** wakes on disk that wait for the verifier */
  readonly pendingWakes: number
}

export const GATEWAY_LIMITS: GatewayLimits = {
  broker: BROKER_LIMITS,
  blocks: BLOCK_LIMITS,
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
  /** of /healthz and /metrics; default 127.0.0.1 */
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
  /** rows of a kind in a batch; default 500: with the interval 1.8 million reports an hour, and 10 ms of this core at a time */
  readonly uplinkBatchRows?: number
  /** how long the cloud may hold the assignment feed open, 0 to 25; default 25 */
  readonly assignmentWaitSeconds?: number
  /** between two requests of an idle feed, ms of the clock; default 200 */
  readonly assignmentIdleMs?: number
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
  deviceSums(device: string): Readonly<Record<SumName, number>>
  /** Acknowledges what it has, ends connections, stops. What is not delivered or judged stays on disk. */
  close(): Promise<void>
}

/** chosen: corrections of older hours are not expected, and the cloud has them */
const RETENTION_MS = 7 * 24 * HOUR_MS
/** chosen: hours whose cells stay in memory; older ones are read back when a straggler needs them */
const CACHED_HOURS_MS = 2 * HOUR_MS
/** chosen: unsent bytes of a device's socket past which a block is dropped; the device asks again */
const UNSENT_BYTES_MAX = 65_536

/** Starts a gateway on real sockets and a real store. Missing keys or a missing cloud do not stop it: devices are refused until keys
 *  come, everything else waits in the store.
 *  @throws when a port or the store cannot be opened or the verifier's graph cannot be loaded */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { clock, random, logger, dataDir } = options
  const limits = { ...GATEWAY_LIMITS, ...options.limits }
  const counters = new MessageCounters()
  const store = openStore(dataDir)
  const settings = new Settings(store)
  const cloud = new CloudClient(options.cloudUrl, options.serviceToken)
  const keys = new KeySource(options.jwks === undefined ? cloud : undefined, settings, clock, logger, options.jwks)
  const devices = new DeviceTable(store)
  const pending = new PendingWakes(store, limits.pendingWakes)
  const spool = new Spool(store, devices, counters, limits.spool)
  const aggregates = new AggregateTable(spool)
  const recover = (): void => {
    devices.reset()
    aggregates.reset()
    spool.recount()
    pending.recount()
    checkpoint.reset()
    const replayed = ingest.replay(spool.reportsAfter(checkpoint.covered))
    logger.info({ replayed }, 'state recovered')
  }
  const checkpoint = new Checkpoint({ store, settings, devices, aggregates, spool, recover })
  const commit = new GroupCommit(store, clock, options.commitWindowMs ?? 2, {
    beforeCommit: () => checkpoint.beforeCommit(),
    afterRollback: recover,
  })
  const shared = {
    clock,
    random,
    logger,
    counters,
    store,
    settings,
    commit,
    devices,
    aggregates,
    spool,
    pending,
    checkpoint,
    cloud,
  }

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
  const ingest = new Ingest({
    ...shared,
    wakeAdded: verifier === undefined ? undefined : () => verifier.wake(),
    assignmentSeen: (device, seq) => assignments.repair(device, seq),
  })

  recover()

  const cache = new ArtifactCache(
    join(dataDir, 'artifacts'),
    { ...shared, secureRandom: options.secureRandom },
    limits.artifacts,
  )
  const send = ({ device }: { readonly device: string }, topic: string, payload: Uint8Array): boolean => {
    const client = link.client(device)
    if (client === undefined || client.conn.writableLength > UNSENT_BYTES_MAX) return false
    publish(topic, payload, 0, false)
    return true
  }
  const blocks = new BlockServer({ ...shared, cache, send }, limits.blocks)
  const metadata = new MetadataServer({ ...shared, cache: new MetadataCache(shared), send })
  const link = new DeviceLink({
    ...shared,
    keys,
    ingest,
    get: (session, payload) => void blocks.handle(session, payload),
    metaGet: (session, payload) => void metadata.handle(session, payload),
  })

  const listen = { host: options.host ?? '127.0.0.1', mqttPort: options.mqttPort ?? 0, wsPort: options.wsPort ?? 0 }
  const broker = await Broker.listen(listen, link.handlers, limits.broker, counters)
  broker.aedes.on('unsubscribe', (filters: string[], client: Client) => link.unsubscribed(client, filters))

  const depths = (): GatewayStats['depths'] => ({
    connectedDevices: link.connected,
    spoolReports: spool.depth.reports,
    spoolEvents: spool.depth.events,
    pendingWakes: pending.count,
    artifactBytes: cache.bytes,
  })
  const metrics = new GatewayMetrics({
    counters,
    depths,
    nowMs: () => clock.wallMs(),
    cellsSince: (hourMs) => {
      checkpoint.writeNow()
      return spool.storedCells(hourMs)
    },
  })
  const health = () => ({ ok: store.open, detail: depths() })
  const http = await OperatorHttp.listen(
    options.httpHost ?? '127.0.0.1',
    options.httpPort ?? 0,
    metrics,
    health,
    metadata,
  )

  const assignments = new Assignments(
    { ...shared, random: random.fork('assignments'), publish: (topic, payload) => publish(topic, payload, 1, true) },
    options.assignmentWaitSeconds ?? 25,
    options.assignmentIdleMs ?? 200,
  )
  const gatewayId = options.gatewayId ?? 'gateway-1'
  const nextBatch = (rowsMax: number, kinds: readonly SpoolKind[]): SpoolBatch | undefined => {
    commit.flush()
    checkpoint.writeNow()
    return spool.nextBatch(gatewayId, rowsMax, kinds)
  }
  const uplink = new Uplink(
    { ...shared, random: random.fork('uplink'), nextBatch },
    options.uplinkIntervalMs ?? 1_000,
    options.uplinkBatchRows ?? 500,
  )
  let cancelUpkeep = (): void => {}
  const upkeep = (): void => {
    const now = clock.wallMs()
    checkpoint.writeNow()
    spool.forgetBefore(hourOf(now) - RETENTION_MS)
    aggregates.forgetBefore(hourOf(now) - CACHED_HOURS_MS)
    cancelUpkeep = clock.after(HOUR_MS, upkeep)
  }
  upkeep()
  void keys.refresh()
  assignments.start()
  uplink.start()
  verifier?.wake()
  logger.info({ mqttPort: broker.mqttPort, wsPort: broker.wsPort, httpPort: http.port }, 'gateway listens')

  return {
    mqttPort: broker.mqttPort,
    wsPort: broker.wsPort,
    httpPort: http.port,
    stats: () => ({ messages: counters.snapshot(), commits: commit.totals, depths: depths() }),
    deviceSums: (device) => {
      const sums = devices.sums(device)
      return Object.fromEntries(SUM_NAMES.map((name, i) => [name, sums[i]!])) as Record<SumName, number>
    },
    async close() {
      cancelUpkeep()
      cloud.close()
      await Promise.all([assignments.close(), uplink.close(), verifier?.close(), http.close()])
      // What is queued is still acknowledged; what comes after this is refused and sent again elsewhere.
      commit.close()
      link.close()
      await broker.close()
      checkpoint.writeNow()
      store.close()
      logger.info({}, 'gateway stopped')
    },
  }
}
