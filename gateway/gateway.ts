import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'aedes'
import type { Clock } from '../contract/clock.ts'
import type { SeededRandom } from '../contract/random.ts'
import type { Logger } from '../platform/logger.ts'
import { OwnerLock } from '../platform/owner-lock.ts'
import { TlsFiles } from '../platform/tls-files.ts'
import type { TlsOptions } from '../platform/tls-options.ts'
import { BelievedClock } from './believed-clock.ts'
import { Broker } from './broker/broker.ts'
import { DeviceLink } from './broker/device-link.ts'
import { Downlink } from './broker/downlink.ts'
import { IdentityRelay } from './broker/identity-relay.ts'
import { Ingest } from './broker/ingest.ts'
import { KeySource } from './broker/key-source.ts'
import type { Certified } from './broker/listener-tls.ts'
import { Revocations } from './broker/revocations.ts'
import { Strangers } from './broker/strangers.ts'
import { Takeovers } from './broker/takeovers.ts'
import { Assignments } from './cloud-link/assignments.ts'
import { CloudClient } from './cloud-link/cloud-client.ts'
import { CloudContact } from './cloud-link/cloud-contact.ts'
import { GatewayIdentity } from './cloud-link/gateway-identity.ts'
import { type CloudToken, KeyedToken } from './cloud-link/keyed-token.ts'
import { ServiceToken } from './cloud-link/service-token.ts'
import { Uplink } from './cloud-link/uplink.ts'
import { WakeChecks } from './cloud-link/wake-checks.ts'
import { Allowances } from './downloads/allowance.ts'
import { ArtifactCache } from './downloads/artifact-cache.ts'
import { ArtifactServer } from './downloads/artifact-server.ts'
import { BlockServer } from './downloads/block-server.ts'
import { MetadataCache } from './downloads/metadata-cache.ts'
import { MetadataServer } from './downloads/metadata-server.ts'
import { GATEWAY_LIMITS, type GatewayLimits, type GatewayOptions } from './gateway-options.ts'
import { OperatorHttp } from './http.ts'
import { MessageCounters } from './message-counters.ts'
import { GatewayMetrics } from './metrics.ts'
import { GatewayReadiness } from './readiness.ts'
import { listenerOf } from './route.ts'
import type { HeldAssignment } from './store/held-assignments.ts'
import type { PendingWake } from './store/pending-wakes.ts'
import { SUM_NAMES, type SumName } from './store/report-timeline.ts'
import { StoreClient } from './store/store-client.ts'
import { Upkeep } from './upkeep.ts'
import { Verifier, type VerifierModel } from './verifier.ts'
import { WatchedEngine } from './verifier-watch.ts'
import { type WakeFormatAnswer, WakeFormats } from './wake-formats.ts'

/** chosen: a revoked device is cut off, and a stolen key of tokens is good no more, within half a minute */
const REVOCATION_POLL_MS = 30_000
/** chosen, of the socket: a cloud that is there answers in milliseconds; without one the gateway serves its devices all the same */
const FIRST_TOKEN_MS = 3_000

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
  /** Looks now at the files that may change while it runs: the service token and certificates. */
  reload(): Promise<void>
}

/** Starts a gateway on real sockets and a real store. Missing keys or a missing cloud do not stop it: devices are refused until keys
 *  come, everything else waits in the store.
 *  @throws when a port or the store cannot be opened or the verifier's graph cannot be loaded; nothing stays open then */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { dataDir, clock, random, logger } = options
  const limits = { ...GATEWAY_LIMITS, ...options.limits }
  const counters = new MessageCounters()
  const verifies = options.engine !== undefined && options.verifier !== undefined
  // What can be wrong in the options is found before anything is opened.
  const tls = options.tlsFiles === undefined ? undefined : new TlsFiles(options.tlsFiles)
  mkdirSync(dataDir, { recursive: true })
  const lock = OwnerLock.take(join(dataDir, 'owner.lock'), `the gateway's folder ${dataDir}`)
  const opened: Ground['opened'] = [{ close: async () => lock.release() }]
  let link: ReturnType<typeof linkToCloud>
  try {
    link = linkToCloud(options)
  } catch (cause) {
    lock.release()
    throw cause
  }
  const { gatewayId } = link
  const store = await StoreClient.open(
    { dataDir, gatewayId, spool: limits.spool, pendingWakesMax: limits.pendingWakes, verifies },
    options.storeInProcess ?? false,
    counters,
    logger,
  ).catch((cause: unknown) => {
    lock.release()
    throw cause
  })
  opened.push(store)
  const { contact, token, cloud, believed, refusal } = link
  const ground: Ground = {
    ...{ options, limits, clock, believed, random, logger, counters, store },
    ...{ gatewayId, cloud, token, contact, refusal, tls, lock, opened },
    engine: options.engine && new WatchedEngine(options.engine, clock),
  }
  try {
    return await compose(ground)
  } catch (cause) {
    for (const part of ground.opened.reverse()) await part.close()
    throw cause
  }
}

/** By what the gateway speaks to the cloud. @throws when an address or a token is none, or the folder is another gateway's */
function linkToCloud(options: GatewayOptions) {
  const { clock, random, logger, cloudUrl } = options
  const contact = new CloudContact({ clock, logger }, cloudUrl)
  const { token, name } = tokenOf(options)
  if (options.gatewayId !== undefined && name !== undefined && options.gatewayId !== name) {
    throw new Error(`the cloud knows this gateway as ${name}, not as ${options.gatewayId}`)
  }
  const believed = new BelievedClock(clock, logger)
  const jitter = random.fork('cloud')
  const refusal = { tell: (): void => {} }
  const cloud = new CloudClient(
    cloudUrl,
    () => token.current,
    () => jitter.next(),
    {
      heard(isRefused, cloudMs) {
        contact.heard(isRefused)
        if (cloudMs !== undefined) believed.cloudSaid(cloudMs)
        if (isRefused !== true) return
        token.refused()
        refusal.tell()
      },
      failed: (error) => contact.failed(error),
    },
  )
  return { contact, token, cloud, believed, refusal, gatewayId: options.gatewayId ?? name ?? 'gateway-1' }
}

/** The key of the folder, or a token. */
function tokenOf(options: GatewayOptions): { readonly token: CloudToken; readonly name: string | undefined } {
  const { dataDir, claim, secureRandom, serviceToken, serviceTokenFile } = options
  const identity = GatewayIdentity.open(dataDir, claim, secureRandom)
  if (identity !== undefined) return { token: new KeyedToken(identity), name: identity.gateway }
  const token = new ServiceToken(serviceToken, serviceTokenFile)
  return { token, name: token.subject }
}

/** What every part stands on. */
interface Ground {
  readonly options: GatewayOptions
  readonly limits: GatewayLimits
  readonly clock: Clock
  readonly believed: BelievedClock
  readonly random: SeededRandom
  readonly logger: Logger
  readonly counters: MessageCounters
  readonly store: StoreClient
  readonly cloud: CloudClient
  readonly token: CloudToken
  /** by which the cloud knows it */
  readonly gatewayId: string
  readonly contact: CloudContact
  /** told when the cloud refuses the gateway's token; whoever wants to hear of it puts itself here */
  readonly refusal: { tell: () => void }
  /** of the folder */
  readonly lock: OwnerLock
  /** where certificates are read from; undefined: they were given, or there are none */
  readonly tls: TlsFiles | undefined
  /** of the verifier */
  readonly engine: WatchedEngine | undefined
  /** what must be closed when a start fails, the newest last */
  readonly opened: { close(): Promise<unknown> }[]
}

/** Makes the parts, each after what it uses, then starts them. */
async function compose(ground: Ground): Promise<Gateway> {
  const { store, counters, cloud, logger } = ground
  const downlink = new Downlink(counters)
  const downloads = makeDownloads(ground, downlink)
  const verifier = await openVerifier(ground, downlink, downloads.cache)
  const assignments = makeAssignments(ground, downlink)
  const ingest = makeIngest(ground, verifier, assignments)
  const admission = await makeAdmission(ground)
  const { broker, link } = await listenForDevices(ground, admission, ingest, downloads)
  downlink.connect(broker, link)
  const depths = (): GatewayStats['depths'] => {
    const { spoolReports, spoolEvents, pendingWakes } = store.figures
    const artifactBytes = downloads.cache.bytes
    return { connectedDevices: link.connected, spoolReports, spoolEvents, pendingWakes, artifactBytes }
  }
  const http = await listenForReaders(ground, admission, downloads, depths)
  const uplink = makeUplink(ground)
  const checks = new WakeChecks({ ...ground, random: ground.random.fork('wake-checks') })
  const upkeep = new Upkeep(ground)
  const renewTls = (options: TlsOptions) => broker.renewTls(options)

  ground.token.start({ ...ground, random: ground.random.fork('service-token') })
  // What asks the cloud from here on has a token, where that is to be had at once.
  await Promise.race([ground.token.look(), sleep(FIRST_TOKEN_MS, undefined, { ref: false })])
  await assignments.start()
  upkeep.start()
  const everyMs = ground.options.revocationPollMs ?? REVOCATION_POLL_MS
  void admission.keys.refresh()
  admission.keys.start(everyMs, () => link.keysChanged())
  ground.refusal.tell = () => admission.keys.refused()
  admission.revocations.start((device, beforeMs) => {
    link.revoked(device)
    void assignments.withdraw(device, beforeMs)
  })
  uplink.start()
  checks.start()
  ground.tls?.start(renewTls, ground.clock, logger)
  verifier?.wake()
  const ports = { mqttPort: broker.mqttPort, wsPort: broker.wsPort, httpPort: http.port }
  logger.info(ports, 'gateway listens')

  return {
    ...ports,
    stats: () => ({ messages: counters.snapshot(), commits: store.figures.commits, depths: depths() }),
    deviceSums: async (device) => {
      const sums = await store.ask('deviceSums', device)
      return Object.fromEntries(SUM_NAMES.map((name, i) => [name, sums[i] ?? 0])) as Record<SumName, number>
    },
    async reload() {
      ground.tls?.look(renewTls, logger)
      await ground.token.look()
    },
    async close() {
      upkeep.close()
      ground.tls?.close()
      admission.revocations.close()
      admission.keys.close()
      cloud.close()
      await Promise.all([
        ground.token.close(),
        assignments.close(),
        uplink.close(),
        checks.close(),
        verifier?.close(),
        http.close(),
      ])
      // What is queued is still acknowledged; what comes after this is refused and sent again elsewhere.
      await ingest.close()
      link.close()
      await broker.close()
      await store.close()
      ground.lock.release()
      logger.info({}, 'gateway stopped')
    },
  }
}

/** @returns undefined when there is nothing to judge wakes with */
async function openVerifier(ground: Ground, downlink: Downlink, cache: ArtifactCache): Promise<Verifier | undefined> {
  const { engine } = ground
  const { verifier: model } = ground.options
  if (engine === undefined || model === undefined) return undefined
  const publishVerdict = (wake: PendingWake, confirmed: boolean) => downlink.verdict(wake, confirmed)
  const verifier = await Verifier.open(
    {
      ...{ ...ground, publishVerdict, formatOf: formatsOf(ground, model, cache) },
      artifact: (sha256: string) => cache.get(sha256, 'verifier'),
    },
    model,
    engine,
  )
  ground.opened.push(verifier)
  return verifier
}

function formatsOf(
  ground: Ground,
  { labels, featureQuantization, labelsOfModel }: VerifierModel,
  cache: ArtifactCache,
): (model: string) => Promise<WakeFormatAnswer> {
  const bundles = new WakeFormats(ground, cache)
  if (labelsOfModel === 'bundles') return (model) => bundles.of(model)
  return (model) => {
    const named = labelsOfModel?.(model) ?? labels
    return Promise.resolve(named === 'unknown' ? named : { pipelines: [{ labels: named, featureQuantization }] })
  }
}

function makeAssignments(ground: Ground, downlink: Downlink): Assignments {
  const { gatewayId } = ground
  const { sites = [], assignmentWaitSeconds = 25, assignmentIdleMs = 200 } = ground.options
  const random = ground.random.fork('assignments')
  const publish = (topic: string, payload: Uint8Array) => downlink.retain(topic, payload)
  return new Assignments(
    { ...ground, random, publish },
    { gatewayId, sites, waitSeconds: assignmentWaitSeconds, idleMs: assignmentIdleMs },
  )
}

function makeIngest(ground: Ground, verifier: Verifier | undefined, assignments: Assignments): Ingest {
  const wakesAdded = () => verifier?.wake()
  const assignmentMissed = (held: HeldAssignment) => assignments.repeat(held)
  const ingest = new Ingest({ ...ground, wakesAdded, assignmentMissed }, ground.options.commitWindowMs ?? 2)
  ground.opened.push(ingest)
  return ingest
}

function makeUplink(ground: Ground): Uplink {
  const { uplinkIntervalMs = 1_000, uplinkBatchRows = 500 } = ground.options
  return new Uplink({ ...ground, random: ground.random.fork('uplink') }, uplinkIntervalMs, uplinkBatchRows)
}

/** Whom devices are let in by. */
interface Admission {
  readonly keys: KeySource
  readonly revocations: Revocations
}

async function makeAdmission(ground: Ground): Promise<Admission> {
  const { options, store, cloud, clock, logger } = ground
  const keys = new KeySource(
    options.jwks === undefined ? cloud : undefined,
    await store.ask('setting', 'jwks'),
    (jwks) => store.ask('keepSetting', 'jwks', jwks),
    clock,
    logger,
    options.jwks,
  )
  const stored = await store.ask('setting', 'revocations')
  const keep = (list: string) =>
    store
      .ask('keepSetting', 'revocations', list)
      .catch((cause: unknown) => logger.error({ err: cause }, 'revocations could not be kept'))
  return {
    keys,
    revocations: new Revocations({ ...ground, stored, keep }, options.revocationPollMs ?? REVOCATION_POLL_MS),
  }
}

/** What devices download from. */
interface Downloads {
  readonly cache: ArtifactCache
  /** drawn on by blocks over MQTT and artifacts over HTTP */
  readonly allowances: Allowances
  readonly blocks: BlockServer
  readonly metadata: MetadataServer
  readonly metadataCache: MetadataCache
}

function makeDownloads(ground: Ground, downlink: Downlink): Downloads {
  const { options, limits, clock, counters } = ground
  const send: Downlink['send'] = (origin, topic, payload) => downlink.send(origin, topic, payload)
  const cache = new ArtifactCache(join(options.dataDir, 'artifacts'), ground, limits.artifacts)
  const allowances = new Allowances(clock, limits.blocks, limits.downloads)
  const blocks = new BlockServer({ counters, cache, allowances, send })
  const metadataCache = new MetadataCache(ground)
  const metadata = new MetadataServer({ ...ground, cache: metadataCache, send })
  return { cache, allowances, blocks, metadata, metadataCache }
}

async function listenForDevices(ground: Ground, admission: Admission, ingest: Ingest, downloads: Downloads) {
  const { options, limits, counters, logger } = ground
  const certified = new WeakMap<Duplex, Certified>()
  const strangers = new Strangers(limits.broker, () => counters.add('connection', 'given-up'))
  const link = new DeviceLink({
    ...{
      ...ground,
      ...admission,
      ingest,
      certified,
      strangers,
      rate: limits.messages,
      takeovers: new Takeovers(ground),
    },
    get: (session, payload) => void downloads.blocks.handle(session, payload),
    metaGet: (session, payload) => void downloads.metadata.handle(session, payload),
  })
  const { host = '127.0.0.1', mqttPort = 0, wsPort = 0 } = options
  const tls = ground.tls?.read() ?? options.tls
  const onRequest = listenerOf(new IdentityRelay(ground).app(logger))
  const listen = { host, mqttPort, wsPort, tls, onRequest, certified, strangers }
  const broker = await Broker.listen(listen, link.handlers, limits.broker, counters)
  ground.opened.push(broker)
  broker.aedes.on('unsubscribe', (filters: string[], client: Client) => link.unsubscribed(client, filters))
  return { broker, link }
}

/** Opens the HTTP listener of operators and of whoever downloads over HTTP. */
async function listenForReaders(
  ground: Ground,
  admission: Admission,
  downloads: Downloads,
  depths: () => GatewayStats['depths'],
): Promise<OperatorHttp> {
  const { options, store, clock, counters, logger } = ground
  const readiness = new GatewayReadiness({
    ...ground,
    dataDir: options.dataDir,
    metadata: downloads.metadataCache,
    clockTrouble: () =>
      ground.believed.isBelieved
        ? undefined
        : 'the clock is before this build, or more than a day from the cloud’s: nothing is stamped until it is right',
  })
  const metrics = new GatewayMetrics({
    counters,
    depths,
    ends: () => readiness.ends(),
    nowMs: () => clock.wallMs(),
    isClockBelieved: () => ground.believed.isBelieved,
    cellsSince: (hourMs) => store.ask('cellsSince', hourMs),
  })
  const http = await OperatorHttp.listen(options.httpHost ?? '127.0.0.1', options.httpPort ?? 0, {
    ...{ logger, metrics, counters, metadata: downloads.metadata },
    artifacts: new ArtifactServer({ ...ground, ...admission, ...downloads }),
    depths,
    readiness: () => readiness.look(),
  })
  ground.opened.push(http)
  return http
}
