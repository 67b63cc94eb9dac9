/** The worker in which a page's agent lives: only a worker has synchronous files, and what the page draws holds up no window. */
import { claimFileSchema } from '../../contract/enrolment.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { type SecureRandom, seededRandom } from '../../contract/random.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { parseDeviceId, parseSiteId } from '../../contract/topics.ts'
import { boardNamed, modelRamBytes } from '../../model/boards.ts'
import type { Engine } from '../../model/engine/engine.ts'
import { engineByFormat } from '../../model/engine-by-format.ts'
import { EngineTiny } from '../../model/engine-tiny/engine-tiny.ts'
import { openBundle } from '../../model/opened-bundle.ts'
import { agentConfig } from '../core/agent/agent-config.ts'
import { layoutOf } from '../core/flash/flash-layout.ts'
import { deviceKey, type Identity, readIdentity } from '../core/flash/identity.ts'
import { isProvisioned, provision } from '../core/flash/provision.ts'
import { radioNamed } from '../core/power/energy.ts'
import { IdentityProtocol } from '../link/identity-protocol.ts'
import { TokenSource } from '../link/token-source.ts'
import { TransportMqtt } from '../link/transport-mqtt.ts'
import type { Transport } from '../ports/transport.ts'
import { BatteryPage } from './battery-page.ts'
import { pageClock } from './clock-page.ts'
import { engineOrtWeb } from './engine-ort-web.ts'
import { FlashOpfs, type SyncFile } from './flash-opfs.ts'
import { identityOverFetch } from './identity-page.ts'
import type { FromWorker, PageConfig, PageSettings, ToWorker } from './messages.ts'
import { PageAgent } from './page-agent.ts'

/** What is used of a worker's scope and of its files; the types of pages do not have them. */
interface WorkerScope {
  postMessage(message: FromWorker): void
  addEventListener(type: 'message', listener: (event: { readonly data: ToWorker }) => void): void
}
interface SyncFileHandle {
  createSyncAccessHandle(): Promise<SyncFile>
}

/** Chosen, as a device on Node: a gateway that restarts is noticed soon, a dead one is not hammered. */
const RECONNECT_MS = 2_000
/** Chosen: somebody watches, and a trial ends no sooner than its first report. */
const FIRST_REPORT_MS = 10_000
/** A worker that was just ended lets go of its file a moment later. */
const LOCK_ATTEMPTS = 40
const LOCK_PAUSE_MS = 100
const DAY_MS = 24 * 3_600_000

const scope = globalThis as unknown as WorkerScope
const secureRandom: SecureRandom = { bytes: (length) => crypto.getRandomValues(new Uint8Array(length)) }
const chance = (): number => (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 0x1_0000_0000

/** Opens the flash of a board, of which the page has one. */
async function openFlash(board: string, sizeBytes: number): Promise<Result<FlashOpfs, ContractError>> {
  try {
    const folder = await navigator.storage.getDirectory()
    const handle = await folder.getFileHandle(`${board}.flash`, { create: true })
    for (let attempt = 1; ; attempt++) {
      try {
        const file = await (handle as unknown as SyncFileHandle).createSyncAccessHandle()
        return ok(FlashOpfs.open(file, sizeBytes))
      } catch (cause) {
        const isTaken = cause instanceof Error && cause.name === 'NoModificationAllowedError'
        if (!isTaken) throw cause
        if (attempt === LOCK_ATTEMPTS) {
          return err(contractError('conflict', 'the flash is in use: this page is open in another tab; close that one'))
        }
        await new Promise<void>((resolve) => pageClock.after(LOCK_PAUSE_MS, resolve))
      }
    }
  } catch (cause) {
    const why = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)
    return err(contractError('flash-write-failed', `the browser gives no file for the flash (${why})`))
  }
}

async function fetched(path: string): Promise<Result<Uint8Array, ContractError>> {
  const response = await fetch(path).catch((cause: unknown) => String(cause))
  if (typeof response === 'string' || !response.ok) {
    const why = typeof response === 'string' ? response : `HTTP ${response.status}`
    return err(contractError('unavailable', `${path}: ${why}; is "kinglet device page" still running?`))
  }
  return ok(new Uint8Array(await response.arrayBuffer()))
}

/** A flash that holds no image yet gets the one that the page's server gives out, as in a factory. */
async function ensureImage(
  flash: FlashOpfs,
  engine: Engine,
  ramBytes: number,
): Promise<Result<unknown, ContractError>> {
  if (isProvisioned(flash)) return ok(undefined)
  const bundle = await fetched('/factory.kinglet')
  if (!bundle.ok) return bundle
  const opened = await openBundle(bundle.value, engine, ramBytes)
  if (!opened.ok) return opened
  await opened.value.dispose()
  return provision(flash, bundle.value, 0, secureRandom)
}

const SILENT: Transport = { open: () => undefined, publish: () => undefined, close: async () => undefined }

/** Everything of one start of the worker. */
interface Running {
  readonly agent: PageAgent
  readonly flash: FlashOpfs
  readonly battery: BatteryPage
}

/** Who the device is: by the key in its flash, else by what the user says, else nobody, who connects to nothing. */
function selfOf(
  identity: Identity | undefined,
  settings: PageSettings,
): Result<{ device: string; site: string }, ContractError> {
  if (identity?.active !== undefined) return ok(identity)
  if (settings.token === '') return ok({ device: 'page', site: 'here' })
  const device = parseDeviceId(settings.device)
  if (!device.ok) return device
  const site = parseSiteId(settings.site)
  return site.ok ? ok({ device: device.value, site: site.value }) : site
}

async function start(settings: PageSettings, config: PageConfig): Promise<Result<Running, ContractError>> {
  const board = boardNamed(settings.board)
  const radio = radioNamed(settings.radio)
  if (board === undefined || radio === undefined) {
    return err(contractError('wrong-board', `no board "${settings.board}" or no radio "${settings.radio}"`))
  }
  const tiny = new EngineTiny()
  const onnx = settings.engine === 'tiny' ? tiny : engineOrtWeb('/ort-wasm-simd-threaded.wasm')
  const engine = settings.engine === 'tiny' ? tiny : engineByFormat({ tflite: tiny, onnx })
  const opened = await openFlash(settings.board, board.flashBytes)
  if (!opened.ok) return opened
  const flash = opened.value
  const provisioned = await ensureImage(flash, engine, modelRamBytes(board))
  if (!provisioned.ok) return provisioned
  const layout = layoutOf(flash)
  if (!layout.ok) return layout
  // A page that is told of a root and does not get it installs nothing, and says so rather than run on without one.
  const trustRoot = config.trusted ? await fetched('/trust-root.json') : ok(undefined)
  if (!trustRoot.ok) return trustRoot
  const identity = readIdentity(flash, layout.value)
  const self = selfOf(identity, settings)
  if (!self.ok) return self
  const key = identity?.active && deviceKey(identity.active)
  const tokens =
    key &&
    new TokenSource(
      () => new IdentityProtocol(identityOverFetch('/identity'), chance).tokenOf(flash, layout.value),
      pageClock,
      seededRandom(Math.floor(chance() * 2 ** 32)),
      (error) => {
        if (error)
          scope.postMessage({ type: 'refused', what: 'no token', why: `${error.code}: ${error.detail}`, fatal: false })
      },
    )
  const isConnected = config.gateway !== null && (tokens !== undefined || settings.token !== '')
  if (isConnected) await tokens?.start()
  const { power } = settings
  const battery = new BatteryPage(power)
  const agent = await PageAgent.start({
    config: agentConfig({
      device: self.value.device,
      site: self.value.site,
      ...{ board, radio, level: settings.level, trustRoot: trustRoot.value, reportPhaseMs: FIRST_REPORT_MS },
      sign: key?.sign,
      power:
        power.kind === 'mains'
          ? null
          : { capacityMj: power.capacityMj, horizonMs: pageClock.wallMs() + settings.days * DAY_MS },
    }),
    ...{ flash, engine, battery, clock: pageClock },
    keyId: key?.public.keyId ?? null,
    hasGateway: isConnected,
    transport:
      config.gateway !== null && isConnected
        ? new TransportMqtt({
            url: config.gateway,
            site: self.value.site as never,
            device: self.value.device as never,
            token: () => tokens?.current ?? settings.token,
            refused: () => tokens?.refused(),
            reconnectMs: RECONNECT_MS,
            chance,
          })
        : SILENT,
    tell: (message) => scope.postMessage(message),
  })
  return agent.ok ? ok({ agent: agent.value, flash, battery }) : agent
}

/** The device makes its key in its flash and enrols it. The agent goes on meanwhile; as whom it speaks, the next start decides. */
async function enrol({ flash }: Running, claim: unknown): Promise<Result<string, ContractError>> {
  const parsed = claimFileSchema.safeParse(claim)
  if (!parsed.success) {
    return err(contractError('malformed', 'this is no claim; an operator makes one with "kinglet device claim"'))
  }
  const layout = layoutOf(flash)
  if (!layout.ok) return layout
  return new IdentityProtocol(identityOverFetch('/identity'), chance).enrol(
    flash,
    layout.value,
    parsed.data,
    secureRandom,
  )
}

const refuse = (
  what: string,
  { code, detail }: { readonly code: string; readonly detail: string },
  fatal: boolean,
): void => scope.postMessage({ type: 'refused', what, why: `${code}: ${detail}`, fatal })

let running: Running | undefined

async function obey(message: ToWorker): Promise<void> {
  if (message.type === 'start') {
    const started = await start(message.settings, message.config)
    if (started.ok) running = started.value
    else refuse('the agent does not start', started.error, true)
    return
  }
  if (running === undefined) return
  const { agent, battery } = running
  switch (message.type) {
    case 'enrol': {
      const enrolled = await enrol(running, message.claim)
      if (enrolled.ok) scope.postMessage({ type: 'enrolled', keyId: enrolled.value })
      else refuse('not enrolled', enrolled.error, false)
      return
    }
    case 'live':
      agent.live(message.samples, message.rateHz)
      return
    case 'file': {
      const { name, bytes, fast } = message
      const heard = agent.file(name, bytes, fast)
      if (heard.ok) return
      const { code, detail } = heard.error
      if (code === 'wav-not-riff' || code === 'wav-other-format' || code === 'wav-unsupported') {
        scope.postMessage({ type: 'decode', name, bytes, fast, why: `${code}: ${detail}` })
      } else refuse(name, heard.error, false)
      return
    }
    case 'decoded': {
      const heard = agent.samples(message.name, message.samples, message.rateHz, message.fast)
      if (!heard.ok) refuse(message.name, heard.error, false)
      return
    }
    case 'silence':
      agent.silence()
      return
    case 'gauge':
      battery.gauge(message.share)
      return
    case 'report':
      agent.report()
      return
  }
}

// One after the other: what is asked while the agent starts is done when it runs.
let work: Promise<void> = Promise.resolve()
scope.addEventListener('message', ({ data }) => {
  work = work
    .then(() => obey(data))
    .catch((cause: unknown) => {
      const detail = cause instanceof Error ? cause.message : String(cause)
      refuse('the agent has failed', { code: 'internal', detail }, true)
    })
})
