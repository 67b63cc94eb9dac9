import { bytesToHex } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import type { ContractError } from '../../contract/errors.ts'
import { LADDER_LEVELS } from '../../contract/ladder-levels.ts'
import { labelsOfPipeline } from '../../contract/manifest.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { createStreamResampler, resample } from '../../model/audio/resample.ts'
import { parseWav } from '../../model/audio/wav.ts'
import type { Engine, EngineSession } from '../../model/engine/engine.ts'
import { featureShape } from '../../model/features/feature-definition.ts'
import type { AgentConfig, AgentEffect, AgentState } from '../core/agent/agent-state.ts'
import { Ears } from '../core/ears.ts'
import { type FlashLayout, layoutOf } from '../core/flash/flash-layout.ts'
import { scanSlot } from '../core/flash/slot-scan.ts'
import { AgentHost } from '../core/host.ts'
import { totalEnergy } from '../core/power/energy.ts'
import { WatchdogTimer } from '../core/watchdog-timer.ts'
import type { Flash } from '../ports/flash.ts'
import type { Transport } from '../ports/transport.ts'
import type { BatteryPage } from './battery-page.ts'
import type { AgentView, FromWorker, SlotView } from './messages.ts'
import { observedEngine } from './observed-engine.ts'
import { createSpectrogram } from './spectrogram.ts'

export interface PageAgentParts {
  readonly config: Omit<AgentConfig, 'slotBytes' | 'sectorBytes'>
  readonly flash: Flash
  readonly engine: Engine
  readonly transport: Transport
  readonly battery: BatteryPage
  readonly clock: Clock
  /** id of the key in the flash; null: the device has none */
  readonly keyId: string | null
  readonly hasGateway: boolean
  readonly tell: (message: FromWorker) => void
}

/** Silence before and after a file, as `kinglet device run --audio` has it: the detector looks at whole seconds, and a word may begin at a
 *  file's first sample. */
const PAD_BEFORE_MS = 800
const PAD_AFTER_MS = 600
/** Chosen: what of a microphone's sound may wait; beyond it the oldest is lost, as on a device whose buffer is full. */
const LIVE_WAITING_MS = 2_000
/** Chosen: as often as the eye follows numbers. */
const VIEW_MS = 250
/** Chosen: hours of sound heard as fast as it goes must leave the worker its other work: a pause after so many hops. */
const HOPS_AT_ONCE = 25
/** Of a pipeline that listens for none. */
const NO_WORDS = { labels: [], policy: { ignoreLabels: [], thresholdPermille: 1_000 } } as const

/** One file that is being heard. */
interface Playing {
  readonly name: string
  stopped: boolean
}

/** The agent of a page: the host of every device, with what a page shows of it. Knows no browser; its ports do. */
export class PageAgent {
  readonly #parts: PageAgentParts
  readonly #layout: FlashLayout
  #host!: AgentHost
  #live:
    | { readonly ears: Ears; readonly resample: (samples: Float32Array) => Float32Array; readonly rateHz: number }
    | undefined
  #waiting: Float32Array[] = []
  #hearing = false
  #playing: Playing | undefined
  #posteriors: Float32Array[] = []
  #spectrogram: { readonly rateHz: number; readonly columns: (samples: Float32Array) => Uint8Array } | undefined
  #link: AgentView['link']
  #cancelView: () => void = () => undefined
  /** by the hash on record, or of a slot that has none by the boot: reading a slot is work */
  readonly #names = new Map<string, string>()

  private constructor(parts: PageAgentParts, layout: FlashLayout) {
    this.#parts = parts
    this.#layout = layout
    this.#link = parts.hasGateway ? 'disconnected' : 'off'
  }

  /** Boots the agent from its flash.
   *  @returns it, or why it does not boot (see AgentHost.start) */
  static async start(parts: PageAgentParts): Promise<Result<PageAgent, ContractError>> {
    const layout = layoutOf(parts.flash)
    if (!layout.ok) return layout
    const agent = new PageAgent(parts, layout.value)
    const { config, flash, transport, battery, clock } = parts
    const started = await AgentHost.start({
      ...{ config, flash, battery, clock, watchdog: new WatchdogTimer(clock) },
      engine: observedEngine(parts.engine, (session, result) => agent.#ran(session, result)),
      transport: {
        open: (listener) =>
          transport.open((event) => {
            if (event.type === 'connected' || event.type === 'disconnected') agent.#link = event.type
            listener(event)
          }),
        publish: (...message) => transport.publish(...message),
        close: async () => {
          if (agent.#link === 'connected') agent.#link = 'disconnected'
          await transport.close()
        },
      },
      observe: (effect, state) => agent.#observe(effect, state),
    })
    if (!started.ok) return started
    agent.#host = started.value
    agent.#tellView()
    return ok(agent)
  }

  /** Sound of a microphone. What comes faster than it is heard waits, up to a bound. */
  live(samples: Float32Array, rateHz: number): void {
    const toHz = this.#rateHz()
    if (toHz === undefined) return
    this.#stopPlaying()
    if (this.#live?.rateHz !== rateHz) {
      const ears = new Ears(this.#host, { clock: this.#parts.clock })
      this.#live = { ears, resample: createStreamResampler(rateHz, toHz), rateHz }
      this.#waiting = []
    }
    this.#waiting.push(this.#live.resample(samples))
    const most = (LIVE_WAITING_MS * toHz) / 1000
    let held = this.#waiting.reduce((sum, { length }) => sum + length, 0)
    while (held > most) held -= this.#waiting.shift()?.length ?? held
    if (!this.#hearing) void this.#hearLive()
  }

  /** The microphone is off, and the file that plays is not heard to its end. */
  silence(): void {
    this.#live = undefined
    this.#waiting = []
    this.#stopPlaying()
  }

  /** Hears a WAV file from a fresh start.
   *  @param fast as fast as it goes, else at the speed of sound
   *  @returns why it is no WAV that can be read */
  file(
    name: string,
    bytes: Uint8Array,
    fast: boolean,
  ): Result<void, { readonly code: string; readonly detail: string }> {
    const wav = parseWav(bytes, { acceptTruncated: true })
    if (!wav.ok) return wav
    for (const note of wav.value.notes) this.#event('note', `${name}: ${note}`, false)
    return this.samples(name, wav.value.samples, wav.value.sampleRateHz, fast)
  }

  samples(
    name: string,
    samples: Float32Array,
    fromHz: number,
    fast: boolean,
  ): Result<void, { readonly code: string; readonly detail: string }> {
    const rateHz = this.#rateHz()
    if (rateHz === undefined) return err({ code: 'unavailable', detail: 'the agent is booting; try again' })
    this.silence()
    const at = fromHz === rateHz ? samples : resample(samples, fromHz, rateHz)
    this.#playing = { name, stopped: false }
    void this.#play(this.#playing, at, rateHz, fast)
    return ok(undefined)
  }

  report(): void {
    this.#host.dispatch({ type: 'report-requested' })
  }

  async close(): Promise<void> {
    this.silence()
    this.#cancelView()
    await this.#host.close()
  }

  async #hearLive(): Promise<void> {
    this.#hearing = true
    try {
      for (
        let next = this.#waiting.shift();
        next !== undefined && this.#live !== undefined;
        next = this.#waiting.shift()
      ) {
        await this.#hear(this.#live.ears, next)
      }
    } finally {
      this.#hearing = false
    }
  }

  async #play(playing: Playing, samples: Float32Array, rateHz: number, fast: boolean): Promise<void> {
    const { clock, tell } = this.#parts
    const before = Math.round((PAD_BEFORE_MS * rateHz) / 1000)
    const padded = new Float32Array(before + samples.length + Math.round((PAD_AFTER_MS * rateHz) / 1000))
    padded.set(samples, before)
    const ears = new Ears(this.#host)
    const wakes: string[] = []
    let dueMs = clock.monotonicMs()
    for (let at = 0, hops = 1; at < padded.length && !playing.stopped; hops++) {
      const hop = this.#hopSamples()
      const chunk = padded.subarray(at, Math.min(at + hop, padded.length))
      at += hop
      wakes.push(...(await this.#hear(ears, chunk)))
      dueMs += (1000 * hop) / rateHz
      const waitMs = fast ? 0 : dueMs - clock.monotonicMs()
      if (waitMs > 0 || hops % HOPS_AT_ONCE === 0) {
        await new Promise<void>((resolve) => clock.after(Math.max(0, waitMs), resolve))
      }
    }
    if (playing.stopped) return
    this.#playing = undefined
    tell({ type: 'played', name: playing.name, wakes, seconds: samples.length / rateHz })
  }

  /** One sound at a time. */
  #stopPlaying(): void {
    if (this.#playing !== undefined) this.#playing.stopped = true
    this.#playing = undefined
  }

  /** @returns labels of its wakes */
  async #hear(ears: Ears, samples: Float32Array): Promise<readonly string[]> {
    const { bundle } = this.#host
    if (bundle === undefined) {
      // Between a reset and the next boot: what was said meanwhile is lost.
      const booted = await this.#host.booted()
      if (!booted.ok) {
        this.silence()
        this.#refused('the agent does not boot', booted.error, true)
      }
      return []
    }
    const { sampleRateHz } = featureShape(bundle.definition)
    if (this.#spectrogram?.rateHz !== sampleRateHz) {
      this.#spectrogram = { rateHz: sampleRateHz, columns: createSpectrogram(sampleRateHz) }
    }
    this.#posteriors = []
    // An engine that fails is told to the agent, which says so.
    const heard = await ears.hear(samples)
    const columns = this.#spectrogram.columns(samples)
    this.#parts.tell({ type: 'heard', columns, seconds: samples.length / sampleRateHz, posteriors: this.#posteriors })
    const wakes = heard.ok ? (heard.value?.wakes ?? []) : []
    return wakes.map(({ label, pipeline }) => labelsOfPipeline(bundle.manifest, pipeline)[label] ?? '?')
  }

  /** Golden vectors of an image that is checked meanwhile run too, in sessions of their own. */
  #ran(session: EngineSession, result: Float32Array): void {
    const sessions = this.#host?.bundle?.sessions.values() ?? []
    for (const running of sessions) if (running === session) this.#posteriors.push(result.slice())
  }

  #observe(effect: AgentEffect, state: AgentState): void {
    if (effect.type === 'tell-event') {
      const { code, error, detail = '' } = effect
      this.#event(code, error === undefined ? detail : `${error}${detail && `: ${detail}`}`, error !== undefined)
    } else if (effect.type === 'tell-wake') {
      const label = labelsOfPipeline(state.manifest, effect.wake.pipeline)[effect.wake.label] ?? '?'
      const level = LADDER_LEVELS[state.governor.level] ?? ''
      const posterior = effect.wake.posteriorPermille / 1000
      this.#parts.tell({ type: 'wake', wallMs: this.#parts.clock.wallMs(), label, posterior, level })
    } else if (effect.type === 'reboot') this.#event('reboot', effect.reason, false)
    else if (effect.type === 'set-level') this.#event('level', effect.level, false)
  }

  #event(code: string, detail: string, bad: boolean): void {
    this.#parts.tell({ type: 'event', wallMs: this.#parts.clock.wallMs(), code, detail, bad })
  }

  #refused(what: string, { code, detail }: ContractError, fatal: boolean): void {
    this.#parts.tell({ type: 'refused', what, why: `${code}: ${detail}`, fatal })
  }

  #rateHz(): number | undefined {
    const definition = this.#host.bundle?.definition
    return definition && featureShape(definition).sampleRateHz
  }

  /** Of the level that listens; of any, while none does. */
  #hopSamples(): number {
    const { bundle, level } = this.#host
    if (bundle === undefined) return 1_600
    const step = bundle.manifest.ladder.find((candidate) => candidate.level === level)
    return (step?.runs[0]?.hopFrames ?? 1) * featureShape(bundle.definition).strideSamples
  }

  #tellView(): void {
    const view = this.#view()
    if (view !== undefined) this.#parts.tell({ type: 'view', view })
    this.#cancelView = this.#parts.clock.after(VIEW_MS, () => this.#tellView())
  }

  #view(): AgentView | undefined {
    const { state, bundle, level } = this.#host
    if (state === undefined || bundle === undefined || level === undefined) return undefined
    const { manifest, measures, record, update, config } = state
    // The picture of posteriors is the first pipeline's.
    const head = manifest.pipelines[0]?.head
    const { labels, policy } = head?.kind === 'wake' ? head : NO_WORDS
    return {
      device: config.device,
      site: config.site,
      keyId: this.#parts.keyId,
      model: manifest.name,
      labels,
      waking: labels.flatMap((label, index) =>
        (policy.ignoreLabels as readonly string[]).includes(label) ? [] : [index],
      ),
      threshold: policy.thresholdPermille / 1000,
      engine: this.#parts.engine.name,
      level,
      levels: manifest.ladder.map((step) => step.level),
      levelMs: measures.levelMs,
      batteryShare: this.#parts.battery.share,
      energyMj: totalEnergy(measures.energy),
      link: this.#link,
      boot: record.boots,
      uptimeMs: this.#parts.clock.monotonicMs() - state.bootedAtMs,
      phase: update.phase === 'trial' ? 'trial' : record.phase,
      slots: ([0, 1] as const).map((slot) => this.#slotView(state, slot)),
      update: updateView(state),
      counters: measures.counters,
      queued: state.outbox.messages.length,
      playing: this.#playing?.name ?? null,
    }
  }

  #slotView({ record, slot: running }: AgentState, slot: 0 | 1): SlotView {
    const { sha256, bytes } = record.images[slot]
    const hash = bytesToHex(sha256)
    let model: string | null = null
    if (bytes > 0) {
      model = this.#names.get(hash) ?? scanSlot(this.#parts.flash, this.#layout, slot)?.manifest.name ?? 'unreadable'
      this.#names.set(hash, model)
    }
    return { model, sha256: hash, bytes, confirmed: record.active === slot, running: running === slot }
  }
}

function updateView({ update }: AgentState): AgentView['update'] {
  switch (update.phase) {
    case 'idle':
    case 'trial':
      return { phase: update.phase, target: '', share: null }
    case 'consulting':
      return { phase: update.phase, target: update.target.name, share: null }
    case 'waiting':
      return { phase: `waiting: ${update.reason}`, target: update.target.name, share: null }
    case 'downloading':
      return { phase: update.phase, target: update.release.name, share: update.offset / update.artifact.bytes }
    case 'checking':
    case 'rebooting':
      return { phase: update.phase, target: update.release.name, share: 1 }
  }
}
