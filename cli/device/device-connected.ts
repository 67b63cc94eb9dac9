import { existsSync } from 'node:fs'
import type { Clock } from '../../contract/clock.ts'
import { LADDER_LEVELS, type LadderLevel } from '../../contract/messages.ts'
import { present } from '../../contract/present.ts'
import { parseDeviceId, parseSiteId } from '../../contract/topics.ts'
import { agentConfig } from '../../device/core/agent/agent-config.ts'
import type { AgentEffect, AgentState } from '../../device/core/agent/agent-state.ts'
import { deviceKey } from '../../device/core/flash/identity.ts'
import { AgentHost } from '../../device/core/host.ts'
import { createListener, type Listener } from '../../device/core/listen/listener.ts'
import { radioNamed, totalEnergy } from '../../device/core/power/energy.ts'
import type { UpdateWindow } from '../../device/core/update/update-schedule.ts'
import { WatchdogTimer } from '../../device/core/watchdog-timer.ts'
import { IdentityClient } from '../../device/node/identity-client.ts'
import { TransportMqtt } from '../../device/node/transport-mqtt.ts'
import { MAINS } from '../../device/ports/battery.ts'
import { boardNamed } from '../../model/boards.ts'
import { EngineOrtNode } from '../../model/engine/engine-ort-node.ts'
import type { OpenedBundle } from '../../model/opened-bundle.ts'
import { CommandFailure } from '../failure.ts'
import { readToken } from '../token-file.ts'
import { openFlash } from './device-flash.ts'
import { httpUrl } from './device-identity.ts'
import { noIdentity, readTls, type Self, type SelfFlags, tokenSource, whoAmI } from './device-self.ts'
import { microphone, paced, playback } from './sound-stream.ts'
import { readTrustRoot } from './trust-root.ts'

export interface ConnectedRun extends SelfFlags {
  readonly gateway: string
  /** where a device with an identity gets its tokens; a long token otherwise */
  readonly cloud?: string | undefined
  readonly trust: string
  readonly audio?: string
  readonly bundle: string
  readonly radio: string
  readonly level: LadderLevel
  readonly updateWindow?: UpdateWindow
  readonly json?: boolean
}

/** Real ms between connection attempts; chosen: a gateway restart is noticed soon, a dead one is not hammered. */
const RECONNECT_MS = 2_000

/** Runs one device against a gateway until it is interrupted: reports, wakes, updates, with its state in a flash file. */
export async function runConnected(run: ConnectedRun, clock: Clock): Promise<void> {
  const board = present(boardNamed(run.board), 'a board among the choices')
  const radio = present(radioNamed(run.radio), 'a radio among the choices')
  const named = [run.site && parseSiteId(run.site), run.device && parseDeviceId(run.device)]
  if (named.some((id) => id && !id.ok)) {
    throw new CommandFailure('ids are lower-case letters, digits and dashes', { exitCode: 2 })
  }
  const cloudUrl = run.cloud === undefined ? undefined : httpUrl(run.cloud)
  if (!URL.canParse(run.gateway) || !GATEWAY_PROTOCOLS.includes(new URL(run.gateway).protocol)) {
    throw new CommandFailure(`"${run.gateway}" is no address of a gateway`, {
      hint: 'for example mqtt://127.0.0.1:1883 or ws://127.0.0.1:8083',
      exitCode: 2,
    })
  }
  if (run.audio === undefined) {
    throw new CommandFailure('a connected device needs ears', {
      hint: 'give --audio - for a microphone (16 kHz, 16-bit mono, raw, on standard input), or a file, folder or scene to play',
      exitCode: 2,
    })
  }
  const longToken = run.tokenFile === undefined ? undefined : readToken(run.tokenFile)
  const tls = readTls(run)
  const trustRoot = readTrustRoot(run.trust)
  const sound = run.audio === '-' ? undefined : playback(run.audio)
  // The first piece now: audio that cannot be played is refused before the device goes on the air.
  const first = sound?.next()
  // Before a new file is made: it could hold no identity.
  if (run.tokenFile === undefined && !existsSync(run.flash)) throw noIdentity(run.flash)
  const flash = await openFlash(run.flash, board, run.bundle)
  let self: Self
  try {
    self = whoAmI(flash, run)
  } catch (failure) {
    flash.close()
    throw failure
  }
  const say = (event: Record<string, unknown>, sentence: string) =>
    console.log(run.json ? JSON.stringify({ atMs: Math.round(clock.wallMs()), ...event }) : sentence)
  const observe = (effect: AgentEffect, state: AgentState) => {
    if (effect.type === 'tell-event') {
      const { code, error, detail } = effect
      const boot = state.record.boots
      const why = [error, detail].filter(Boolean).join(': ')
      say({ type: 'event', code, error, detail, boot, slot: state.slot }, `${code}${why && ` (${why})`}`)
    } else if (effect.type === 'tell-wake') {
      const label = state.manifest.labels[effect.wake.label] ?? '?'
      const posterior = effect.wake.posteriorPermille / 1000
      const level = LADDER_LEVELS[state.governor.level]
      const latencyMs = Number(ears?.latencyMs.toFixed(3))
      const energyMj = Number(totalEnergy(state.energy).toFixed(3))
      say(
        { type: 'wake', label, posterior, latencyMs, level, energyMj },
        `${label}  ${posterior.toFixed(3)}  latency ${latencyMs} ms  ${level}  ${energyMj} mJ`,
      )
    }
  }
  let ears: Ears | undefined
  const tokens =
    cloudUrl === undefined || self.seed === undefined
      ? undefined
      : tokenSource(new IdentityClient(cloudUrl), flash, self.layout, clock, (error) => {
          if (error !== undefined) say({ type: 'token', ...error }, `no token: ${error.code}: ${error.detail}`)
        })
  const link = new TransportMqtt({
    url: run.gateway,
    site: self.site,
    device: self.device,
    token: () => tokens?.current ?? present(longToken, 'a token'),
    refused: () => tokens?.refused(),
    tls,
    reconnectMs: RECONNECT_MS,
  })
  let linkState: string | undefined
  const told = (state: 'connected' | 'disconnected') => {
    // Each attempt of a reconnect ends in a disconnect: once is enough.
    if (state === linkState) return
    linkState = state
    say({ type: 'link', state }, `${state === 'connected' ? 'connected' : 'no connection'} to ${run.gateway}`)
  }
  await tokens?.start()
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
    }),
    flash,
    engine: new EngineOrtNode(),
    transport: {
      open: (listener) =>
        link.open((event) => {
          // Otherwise a device with a wrong address or token would look like one that hears nothing.
          if (event.type === 'connected' || event.type === 'disconnected') told(event.type)
          listener(event)
        }),
      publish: (...message) => link.publish(...message),
      close: () => link.close(),
    },
    battery: MAINS,
    clock,
    watchdog: new WatchdogTimer(clock),
    observe,
  })
  if (!started.ok) {
    throw new CommandFailure(`${run.flash}: ${started.error.code}: ${started.error.detail}`, {
      hint: 'a flash file of another board or a damaged one; with another --flash the device starts from its factory image',
    })
  }
  const host = started.value
  ears = new Ears(host, clock)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  try {
    if (sound === undefined || first === undefined) {
      await listenTo(microphone(stop.signal), ears, host)
    } else await listenTo(paced(first, sound, clock, stop.signal), ears, host)
  } finally {
    // Also when listening failed: an open link would keep the process.
    tokens?.close()
    await host.close()
    flash.close()
  }
}

/** URL.protocol of what mqtt.js connects to. */
const GATEWAY_PROTOCOLS = ['mqtt:', 'mqtts:', 'ws:', 'wss:']

async function listenTo(chunks: AsyncIterable<Float32Array>, ears: Ears, host: AgentHost): Promise<void> {
  for await (const chunk of chunks) {
    if (host.bundle === undefined) {
      // Between a reset and the next boot: what was said meanwhile is lost. A device that cannot boot is at its end.
      const booted = await host.booted()
      if (!booted.ok) throw new CommandFailure(`the device cannot boot: ${booted.error.code}: ${booted.error.detail}`)
      continue
    }
    await ears.hear(chunk)
  }
}

/** Keeps a listener for the running bundle and level; both change under an update or the governor. */
class Ears {
  readonly #host: AgentHost
  readonly #clock: Clock
  #bundle: OpenedBundle | undefined
  #level: LadderLevel | undefined
  #listener: Listener | undefined
  #latencyMs = 0

  constructor(host: AgentHost, clock: Clock) {
    this.#host = host
    this.#clock = clock
  }

  /** how long the newest chunk took from its arrival to the decision */
  get latencyMs(): number {
    return this.#latencyMs
  }

  async hear(samples: Float32Array): Promise<void> {
    const { bundle, level } = this.#host
    if (bundle === undefined || level === undefined) return
    if (bundle !== this.#bundle || level !== this.#level) {
      const step = bundle.manifest.ladder.find((candidate) => candidate.level === level)
      const session = bundle.sessions.get(step?.graph ?? '')
      this.#bundle = bundle
      this.#level = level
      this.#listener =
        step === undefined || session === undefined
          ? undefined
          : createListener({
              manifest: bundle.manifest,
              definition: bundle.definition,
              step,
              session,
              clock: this.#clock,
            })
    }
    const fromMs = this.#clock.monotonicMs()
    const heard = await this.#listener?.listen(samples)
    this.#latencyMs = this.#clock.monotonicMs() - fromMs
    if (heard?.ok) this.#host.hear(heard.value)
    else if (heard !== undefined && heard.error.code !== 'engine-disposed') {
      this.#host.dispatch({ type: 'engine-failed', error: { code: 'model-load-failed', detail: heard.error.detail } })
    }
  }
}
