import { existsSync } from 'node:fs'
import type { Clock } from '../../contract/clock.ts'
import type { LadderLevel } from '../../contract/ladder-levels.ts'
import { readManifest } from '../../contract/manifest.ts'
import type { BundleInput } from '../../contract/manifest-v2.ts'
import { present } from '../../contract/present.ts'
import { parseDeviceId, parseSiteId } from '../../contract/topics.ts'
import { agentConfig } from '../../device/core/agent/agent-config.ts'
import { Ears } from '../../device/core/ears.ts'
import { deviceKey } from '../../device/core/flash/identity.ts'
import { AgentHost } from '../../device/core/host.ts'
import { type Radio, radioNamed } from '../../device/core/power/energy.ts'
import { HYSTERESIS_CELSIUS } from '../../device/core/power/heat.ts'
import type { UpdateWindow } from '../../device/core/update/update-schedule.ts'
import { WatchdogTimer } from '../../device/core/watchdog-timer.ts'
import type { TokenSource } from '../../device/link/token-source.ts'
import { TransportMqtt } from '../../device/link/transport-mqtt.ts'
import { IdentityClient } from '../../device/node/identity-client.ts'
import { ThermometerFile } from '../../device/node/thermometer-file.ts'
import { MAINS } from '../../device/ports/battery.ts'
import type { Flash } from '../../device/ports/flash.ts'
import type { Transport } from '../../device/ports/transport.ts'
import { type Board, boardNamed } from '../../model/boards.ts'
import { bundleEngine } from '../engines.ts'
import { CommandFailure } from '../failure.ts'
import { readBundleFile } from '../open-bundle-file.ts'
import { chance } from '../random-secure.ts'
import { readToken } from '../token-file.ts'
import { openFlash } from './device-flash.ts'
import { httpUrl } from './device-identity.ts'
import { valuesPerSecond } from './device-input.ts'
import { Narration } from './device-narration.ts'
import { noIdentity, readTls, type Self, type SelfFlags, tokenSource, whoAmI } from './device-self.ts'
import { paced, playback, standardInput } from './sound-stream.ts'
import { readTrustRoot } from './trust-root.ts'

export interface ConnectedRun extends SelfFlags {
  readonly gateway: string
  /** where a device with an identity gets its tokens; a long token otherwise */
  readonly cloud?: string | undefined
  readonly trust: string
  /** what it hears or feels; `-`: standard input */
  readonly input: string | undefined
  readonly bundle: string
  readonly radio: string
  readonly level: LadderLevel
  readonly updateWindow?: UpdateWindow
  /** file of a sensor, and the limit in °C: both or none */
  readonly thermometer?: string
  readonly maxCelsius?: number
  readonly json?: boolean
}

/** Real ms, bound of the first pause before another attempt to connect; chosen: a gateway restart is noticed soon, a dead one is not hammered. */
const RECONNECT_MS = 2_000

/** chosen: a gateway answers within a second, and a supervisor kills after ten */
const LAST_REPORT_MS = 5_000

/** Runs one device against a gateway until it is interrupted: reports, wakes, updates, with its state in a flash file. Its last report goes
 *  before it ends.
 *  @param clock the device's
 *  @param system that of the network, which no simulation hurries */
export async function runConnected(run: ConnectedRun, clock: Clock, system: Clock): Promise<void> {
  const checked = checkRun(run)
  const flash = await openFlash(run.flash, checked.board, run.bundle)
  let tokens: TokenSource | undefined
  let host: AgentHost | undefined
  try {
    const self = whoAmI(flash, run)
    const narration = new Narration(clock, run.gateway, run.json ?? false)
    if (checked.cloudUrl !== undefined && self.seed !== undefined) {
      const identity = new IdentityClient(checked.cloudUrl, chance)
      tokens = tokenSource(identity, flash, self.layout, clock, (error) => {
        if (error !== undefined) narration.noToken(error)
      })
    }
    await tokens?.start()
    host = await startHost(run, checked, self, flash, linkOf(run, checked, self, tokens, narration), narration, clock)
    const stop = new AbortController()
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
    const { sound, reads } = checked
    const chunks =
      sound === undefined
        ? standardInput(reads, stop.signal)
        : paced(sound.first, sound.rest, valuesPerSecond(reads), clock, stop.signal)
    await listenTo(chunks, host, narration, clock)
  } finally {
    // Also when listening failed: an open link would keep the process.
    tokens?.close()
    await host?.stop(LAST_REPORT_MS, system)
    flash.close()
  }
}

/** What the command line says, checked before anything is made or goes on the air. */
interface CheckedRun {
  readonly board: Board
  readonly radio: Radio
  /** where tokens come from, as an HTTP address */
  readonly cloudUrl: string | undefined
  readonly longToken: string | undefined
  readonly tls: ReturnType<typeof readTls>
  readonly trustRoot: Uint8Array
  /** what the bundle of the command line reads, which is what its device senses */
  readonly reads: BundleInput
  /** undefined: standard input */
  readonly sound:
    | { readonly first: IteratorResult<Float32Array>; readonly rest: ReturnType<typeof playback> }
    | undefined
}

function checkRun(run: ConnectedRun): CheckedRun {
  for (const id of [run.site && parseSiteId(run.site), run.device && parseDeviceId(run.device)]) {
    if (id && !id.ok) throw new CommandFailure(id.error.detail, { exitCode: 2 })
  }
  const cloudUrl = run.cloud === undefined ? undefined : httpUrl(run.cloud)
  if (!URL.canParse(run.gateway) || !GATEWAY_PROTOCOLS.includes(new URL(run.gateway).protocol)) {
    throw new CommandFailure(`"${run.gateway}" is no address of a gateway`, {
      hint: 'for example mqtt://127.0.0.1:1883 or ws://127.0.0.1:8083',
      exitCode: 2,
    })
  }
  if (run.input === undefined) {
    throw new CommandFailure('a connected device needs ears', {
      hint: 'give --audio - for a microphone (16 kHz, 16-bit mono, raw, on standard input), --input - for vectors (little-endian float32), or a file, folder or scene to play',
      exitCode: 2,
    })
  }
  const longToken = run.tokenFile === undefined ? undefined : readToken(run.tokenFile)
  const tls = readTls(run)
  const trustRoot = readTrustRoot(run.trust)
  const reads = inputOf(run.bundle)
  const rest = run.input === '-' ? undefined : playback(run.input, reads)
  // The first piece now: audio that cannot be played is refused before the device goes on the air.
  const sound = rest && { first: rest.next(), rest }
  // Before a new file is made: it could hold no identity.
  if (run.tokenFile === undefined && !existsSync(run.flash)) throw noIdentity(run.flash)
  return {
    board: present(boardNamed(run.board), 'a board among the choices'),
    radio: present(radioNamed(run.radio), 'a radio among the choices'),
    cloudUrl,
    longToken,
    tls,
    trustRoot,
    sound,
    reads,
  }
}

/** What a bundle reads: said before the device goes on the air, as what it is to be fed with is. */
function inputOf(path: string): BundleInput {
  const manifest = readManifest(readBundleFile(path))
  if (manifest.ok) return manifest.value.input
  throw new CommandFailure(`${path}: ${manifest.error.code}: ${manifest.error.detail}`)
}

function linkOf(
  run: ConnectedRun,
  { longToken, tls }: CheckedRun,
  self: Self,
  tokens: TokenSource | undefined,
  narration: Narration,
): Transport {
  const link = new TransportMqtt({
    url: run.gateway,
    site: self.site,
    device: self.device,
    token: () => tokens?.current ?? present(longToken, 'a token'),
    refused: () => tokens?.refused(),
    tls,
    reconnectMs: RECONNECT_MS,
    chance,
  })
  return {
    open: (listener) =>
      link.open((event) => {
        if (event.type === 'connected' || event.type === 'disconnected') narration.link(event.type)
        listener(event)
      }),
    publish: (...message) => link.publish(...message),
    close: () => link.close(),
  }
}

async function startHost(
  run: ConnectedRun,
  { board, radio, trustRoot }: CheckedRun,
  self: Self,
  flash: Flash,
  transport: Transport,
  narration: Narration,
  clock: Clock,
): Promise<AgentHost> {
  const started = await AgentHost.start({
    config: agentConfig({
      device: self.device,
      site: self.site,
      board,
      sign: self.seed && deviceKey(self.seed).sign,
      radio,
      level: run.level,
      trustRoot,
      reportPhaseMs: 60_000,
      updateWindow: run.updateWindow ?? null,
      heat: run.maxCelsius === undefined ? null : { maxCelsius: run.maxCelsius, hysteresisCelsius: HYSTERESIS_CELSIUS },
    }),
    flash,
    engine: bundleEngine(),
    transport,
    battery: MAINS,
    thermometer: run.thermometer === undefined ? undefined : new ThermometerFile(run.thermometer),
    clock,
    watchdog: new WatchdogTimer(clock),
    observe: narration.observe,
  })
  if (started.ok) return started.value
  throw new CommandFailure(`${run.flash}: ${started.error.code}: ${started.error.detail}`, {
    hint: 'a flash file of another board or a damaged one; with another --flash the device starts from its factory image',
  })
}

/** URL.protocol of what mqtt.js connects to. */
const GATEWAY_PROTOCOLS = ['mqtt:', 'mqtts:', 'ws:', 'wss:']

async function listenTo(
  chunks: AsyncIterable<Float32Array>,
  host: AgentHost,
  narration: Narration,
  clock: Clock,
): Promise<void> {
  const ears = new Ears(host, { clock })
  for await (const chunk of chunks) {
    const { bundle } = host
    if (bundle === undefined) {
      // Between a reset and the next boot: what was said meanwhile is lost. A device that cannot boot is at its end.
      const booted = await host.booted()
      if (!booted.ok) throw new CommandFailure(`the device cannot boot: ${booted.error.code}: ${booted.error.detail}`)
      continue
    }
    const fromMs = clock.monotonicMs()
    // An engine that fails is told to the agent, which says so.
    await ears.hear(chunk, (heard) => {
      narration.latencyMs = clock.monotonicMs() - fromMs
      narration.read(heard, bundle.manifest)
    })
  }
}
