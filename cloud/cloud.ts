import { createServer, Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { serve } from '@hono/node-server'
import type { Clock } from '../contract/clock.ts'
import type { SecureRandom } from '../contract/random.ts'
import type { PublicKey } from '../contract/signed.ts'
import type { Engine } from '../model/engine/engine.ts'
import { makeFolderDurably } from '../platform/durable-file.ts'
import type { Logger } from '../platform/logger.ts'
import { OwnerLock } from '../platform/owner-lock.ts'
import { TlsFiles, type TlsPaths } from '../platform/tls-files.ts'
import { type TlsOptions, tlsServerOptions } from '../platform/tls-options.ts'
import { AlertWebhook, type WebhookTarget } from './alert-webhook.ts'
import { createApp } from './api/app.ts'
import type { CloudServices } from './api/environment.ts'
import { EventHub } from './api/event-hub.ts'
import { Signal } from './api/signal.ts'
import { alertView } from './api/views.ts'
import { EvaluationLoop } from './evaluation-loop.ts'
import { LARGE_FROM, LookClient } from './look-client.ts'
import { CloudReadiness } from './readiness.ts'
import { ArtifactFolder } from './registry/artifact-folder.ts'
import { Registry } from './registry/registry.ts'
import { Assigner } from './rollout/assigner.ts'
import { RolloutEngine } from './rollout/engine.ts'
import { KINGLET } from './rollout/executor.ts'
import { SecondJudge, type SecondVerifier } from './second-judge.ts'
import { Slices } from './slices.ts'
import { Retention } from './store/retention.ts'
import { DEFAULT_RETENTION, type RetentionPolicy } from './store/retention-ages.ts'
import { Store } from './store/store.ts'
import { DriftMonitor } from './telemetry/drift.ts'
import { DEFAULT_DRIFT_POLICY, type DriftPolicy } from './telemetry/drift-policy.ts'
import { FleetNowBeside, fleetNow } from './telemetry/fleet-now.ts'
import { createMetrics, measureReaders } from './telemetry/metrics.ts'
import { WakeAudit } from './telemetry/wake-audit.ts'
import { AttemptLimit } from './trust/attempt-limit.ts'
import { Challenges } from './trust/challenges.ts'
import { DeviceIdentities } from './trust/device-identities.ts'
import { Expiries } from './trust/expiries.ts'
import { ExpiryWatch, GatewayContacts } from './trust/expiry-watch.ts'
import { checkedTokens, GatewayIdentities } from './trust/gateway-identities.ts'
import { ImageRepository } from './trust/image-repository.ts'
import { directorKeys, onlineKeys } from './trust/key-succession.ts'
import { type OidcPolicy, OidcTokens, withOidc } from './trust/oidc.ts'
import { OperatorToken } from './trust/operator-token.ts'
import { tightenSecrets } from './trust/secret-files.ts'
import { holdsSeed, loadOrCreateSeed } from './trust/seed-file.ts'
import { createTokenIssuer, type TokenIssuer } from './trust/tokens.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** Chosen: a client that computes for some seconds between two requests must not write into a connection that has just been closed; more than
 *  the minute for which load balancers keep one. */
const KEEP_ALIVE_MS = 65_000

/** Chosen: a person or a gateway with an old token gets through to hear so; what guesses does not make the cloud check signatures. */
const BAD_TOKENS = { burst: 50, perSecond: 5 }

export interface CloudOptions {
  /** folder of the database, artifacts, keys and the operator token; created when missing, mode 0700 */
  readonly dataDir: string
  readonly host: string
  /** 0: any free port */
  readonly port: number
  /** certificate and key of the port, read again when they change; absent: plain HTTP */
  readonly tlsFiles?: TlsPaths | undefined
  readonly clock: Clock
  readonly secureRandom: SecureRandom
  readonly logger: Logger
  /** lets GET requests pass without a token: for a laptop, never for a network */
  readonly publicReads?: boolean
  /** time between two evaluations of gates and drift, ms of the injected clock; default 15 min */
  readonly evaluateEveryMs?: number
  /** validity of the tokens of devices that are imported without a key; default 365 days */
  readonly deviceTokenTtlMs?: number
  /** validity of the tokens of devices with a key, at most and by default an hour */
  readonly keyedTokenTtlMs?: number
  /** validity of the operator token; default 365 days */
  readonly operatorTokenTtlMs?: number
  /** validity of assignments, renewed when a quarter is left; default 30 days */
  readonly assignmentTtlMs?: number
  /** how long a gateway that has sent telemetry may be unheard before an alert says so; default 2 hours */
  readonly gatewaySilentMs?: number
  /** days that rows of each kind are kept; default DEFAULT_RETENTION */
  readonly retention?: Partial<RetentionPolicy>
  /** real time, by which slices of long work are measured; default `clock`, which may run faster in a simulation */
  readonly machine?: Clock
  readonly drift?: Partial<DriftPolicy>
  /** judges a share of wakes a second time, to find gateways whose verdicts are others; default: none is */
  readonly verifier?: { readonly model: SecondVerifier; readonly engine: Engine }
  /** who is told of alerts; default: nobody */
  readonly webhook?: WebhookTarget
  /** who says who people are; default: only tokens of this cloud are taken */
  readonly oidc?: OidcPolicy
}

export interface RunningCloud {
  readonly url: string
  /** present key of the director; it changes when a root names the next one */
  readonly directorKey: PublicKey
  /** keys, files and renewal of the image repository */
  readonly repository: ImageRepository
  /** bearer token with every right, also in `<dataDir>/operator.token` */
  readonly operatorToken: string
  /** Mints a service token without HTTP, for a gateway in the same process. */
  readonly tokens: Pick<TokenIssuer, 'mintService' | 'jwks'>
  /** Runs one evaluation now instead of waiting for the clock. What is small is done at once; @returns when everything is. */
  evaluate(): Promise<void>
  /** Looks again at the files that may change while it runs: the seed of tokens, the operator token and certificates.
   *  @throws when the seed is none, or a file cannot be read: what was in use stays */
  reload(): Promise<void>
  /** Ends streams and polls, finishes requests, closes the database. */
  close(): Promise<void>
}

/** Starts the cloud: the composition root of `cloud/`. The first start creates the director key, the token key and an
 *  operator token, each in a file of mode 0600 in `dataDir`.
 *  @throws DatabaseTooNewError when the folder was written by a newer release
 *  @throws Error with code EADDRINUSE when the port is taken
 */
export async function startCloud(options: CloudOptions): Promise<RunningCloud> {
  const { dataDir } = options
  const keysDir = join(dataDir, 'keys')
  makeFolderDurably(keysDir, 0o700)
  const lock = OwnerLock.take(join(dataDir, 'owner.lock'), `the cloud's folder ${dataDir}`)
  try {
    return await startOwned(options, keysDir, lock)
  } catch (cause) {
    lock.release()
    throw cause
  }
}

/** @param lock released when the cloud is closed */
async function startOwned(options: CloudOptions, keysDir: string, lock: OwnerLock): Promise<RunningCloud> {
  const { dataDir, clock, secureRandom, logger } = options
  tightenSecrets(dataDir, keysDir, logger)
  const directors = directorKeys(keysDir, secureRandom)
  const tokenSeedPath = join(keysDir, 'tokens.seed')
  let tokenSeed = loadOrCreateSeed(tokenSeedPath, secureRandom)

  const store = new Store(join(dataDir, 'cloud.db'), clock.wallMs())
  try {
    const issuer = await createTokenIssuer(tokenSeed, clock, secureRandom, store.tokens)
    const noteTokenKey = () => {
      const now = clock.wallMs()
      store.atomically(() => {
        if (!store.tokens.signedBy(issuer.kid, now)) return
        const entry = { atMs: now, actor: 'kinglet', action: 'token-key.replaced', subject: issuer.kid, detail: {} }
        store.audit.append(entry)
        logger.warn({ kid: issuer.kid }, 'keys/tokens.seed was replaced: every token of the former one is refused')
      })
    }
    noteTokenKey()
    const challenges = new Challenges(secureRandom)
    const gateways = new GatewayIdentities({ store, tokens: issuer, clock, random: secureRandom, challenges })
    const own = checkedTokens(issuer, gateways)
    const machine = options.machine ?? clock
    const tokens = options.oidc
      ? withOidc(own, new OidcTokens(options.oidc, { clock, machine, records: store.tokens, logger }))
      : own
    const operatorToken = new OperatorToken(
      { store, tokens, clock, logger },
      join(dataDir, 'operator.token'),
      options.operatorTokenTtlMs ?? 365 * DAY_MS,
    )
    await operatorToken.refresh()
    const artifacts = new ArtifactFolder(join(dataDir, 'artifacts'), secureRandom)
    const metrics = createMetrics(store, clock)
    const hub = new EventHub(clock.wallMs())
    const assignmentsChanged = new Signal(clock)
    measureReaders(metrics.registry, { stream: () => hub.listeners, feed: () => assignmentsChanged.waiters })
    const engine = new RolloutEngine(store, clock, secureRandom, LARGE_FROM)
    const slices = new Slices(machine)
    const { verifier } = options
    const judge = verifier && (await SecondJudge.open(store, artifacts, verifier.model, verifier.engine))
    const wakeAudit =
      judge &&
      new WakeAudit({
        ...{ store, random: secureRandom, judge: (wake) => judge.judge(wake) },
        quarantine(gateway, reason) {
          gateways.quarantine(gateway, reason, KINGLET)
          logger.warn({ gateway, reason }, 'gateway in quarantine')
        },
      })
    const drift = { ...DEFAULT_DRIFT_POLICY, ...options.drift }
    const looks = new LookClient(store, { path: store.db.name, drift })
    // Who asks for figures does not wait for a look.
    const figures = new LookClient(store, { path: store.db.name, drift })
    const beside = new FleetNowBeside((family) => figures.ask('present', family), machine)
    const loop = new EvaluationLoop({
      ...{ wakeAudit, looks },
      ...{ store, clock, machine, slices, logger, engine, hub, metrics, assignmentsChanged },
      assigner: new Assigner(store, directors, clock, options.assignmentTtlMs ?? 30 * DAY_MS),
      drift: new DriftMonitor(store, drift),
      retention: new Retention(store.db, { ...DEFAULT_RETENTION, ...options.retention }),
      everyMs: options.evaluateEveryMs ?? 15 * 60_000,
    })
    const repository = new ImageRepository({
      ...{ store, artifacts, clock, logger },
      online: onlineKeys(keysDir, secureRandom),
      directors,
    })
    const expiries = new Expiries(store, repository)
    expiries.measure(metrics.registry, clock)
    const contacts = new GatewayContacts(clock)
    const watch = new ExpiryWatch({
      ...{ store, clock, logger, expiries, contacts },
      silentMs: options.gatewaySilentMs ?? 2 * HOUR_MS,
      changed: (alert, change) => hub.publish('alert', { change, ...alertView(store, alert) }),
    })
    const webhook =
      options.webhook &&
      new AlertWebhook({ store, clock, machine, logger, registry: metrics.registry }, options.webhook)
    // Who is told from tomorrow on need not hear of last year.
    if (webhook === undefined) store.alerts.forgetUntold()
    // What cannot be used is said before anything listens.
    const tls = options.tlsFiles === undefined ? undefined : new TlsFiles(options.tlsFiles)
    const tlsOptions = tls && tlsServerOptions(tls.read())
    const isSeedInUse = () => holdsSeed(tokenSeedPath, tokenSeed)
    const readiness = new CloudReadiness({ store, clock, expiries, dataDir, isSeedInUse, tls })
    const services: CloudServices = {
      wakeAudit,
      ...{ store, clock, machine, logger, artifacts, engine, tokens, metrics, hub, assignmentsChanged },
      ...{ repository, contacts },
      badTokens: new AttemptLimit(BAD_TOKENS),
      readiness: () => readiness.look(),
      registry: new Registry(store, artifacts, repository, clock),
      identities: new DeviceIdentities(store, tokens, clock, secureRandom, options.keyedTokenTtlMs, challenges),
      gateways,
      slices,
      pastsOf: async (id) => {
        const rollout = store.rollouts.get(id)
        const isToRead = rollout?.endedMs === null && engine.isLarge(rollout)
        return isToRead ? looks.ask('pasts', id, clock.wallMs()) : undefined
      },
      fleetNow: async (family) => (store.devices.atMost() < LARGE_FROM ? fleetNow(store, family) : beside.of(family)),
      nudge: () => loop.nudge(),
      signSoon: () => loop.signSoon(),
      publicReads: options.publicReads ?? false,
      isEncrypted: tls !== undefined,
      deviceTokenTtlMs: options.deviceTokenTtlMs ?? 365 * DAY_MS,
    }
    const app = createApp(services)
    const server = serve({
      fetch: app.fetch,
      hostname: options.host,
      port: options.port,
      ...(tlsOptions === undefined
        ? { serverOptions: { keepAliveTimeout: KEEP_ALIVE_MS } }
        : { createServer, serverOptions: { ...tlsOptions, keepAliveTimeout: KEEP_ALIVE_MS } }),
    })
    const renewTls = (renewed: TlsOptions) => {
      if (server instanceof Server) server.setSecureContext(tlsServerOptions(renewed))
    }
    await new Promise<void>((resolve, reject) => {
      server.once('listening', resolve)
      server.once('error', reject)
    })
    loop.start()
    // Its thread starts before somebody waits for it.
    if (store.devices.atMost() >= LARGE_FROM) beside.of(undefined).catch(() => undefined)
    repository.start()
    operatorToken.start()
    tls?.start(renewTls, clock, logger)
    watch.start()
    webhook?.start()
    const { port } = server.address() as AddressInfo
    const host = options.host.includes(':') ? `[${options.host}]` : options.host
    const url = `${tls === undefined ? 'http' : 'https'}://${host}:${port}`
    logger.info({ url, dataDir, onlineKey: repository.online.current.publicKey }, 'cloud is up')

    let closing: Promise<void> | undefined
    return {
      url,
      get directorKey() {
        return directors.current.publicKey
      },
      repository,
      get operatorToken() {
        return operatorToken.current
      },
      tokens: {
        jwks: tokens.jwks,
        async mintService(subject, role, ttlMs) {
          const minted = await tokens.mintService(subject, role, ttlMs)
          const { jti, issuedMs, expiresMs } = minted
          store.tokens.add({ jti, kind: role, subject, issuedMs, expiresMs })
          return minted
        },
      },
      evaluate: () => loop.evaluate(),
      async reload() {
        tightenSecrets(dataDir, keysDir, logger)
        if (!isSeedInUse()) {
          tokenSeed = loadOrCreateSeed(tokenSeedPath, secureRandom)
          await issuer.rekey(tokenSeed)
          noteTokenKey()
          // Gateways that wait for something ask again, and hear at once that their tokens are refused.
          assignmentsChanged.raise()
        }
        tls?.look(renewTls, logger)
        await operatorToken.refresh()
      },
      close() {
        closing ??= (async () => {
          loop.stop()
          slices.stop()
          repository.stop()
          operatorToken.stop()
          tls?.close()
          watch.stop()
          if (webhook === undefined) store.alerts.forgetUntold()
          webhook?.stop()
          hub.close()
          assignmentsChanged.raise()
          await new Promise<void>((resolve) => {
            server.close(() => resolve())
            if ('closeIdleConnections' in server) server.closeIdleConnections()
            // Real time: a client that does not read its answer must not keep the process; five seconds are chosen.
            setTimeout(() => 'closeAllConnections' in server && server.closeAllConnections(), 5_000).unref()
          })
          await judge?.close()
          await Promise.all([looks.close(), figures.close()])
          store.close()
          lock.release()
          logger.info({ url }, 'cloud is down')
        })()
        return closing
      },
    }
  } catch (cause) {
    store.close()
    throw cause
  }
}
