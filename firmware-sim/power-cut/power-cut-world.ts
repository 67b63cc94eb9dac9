import { createHash } from 'node:crypto'
import { bytesToHex, sha256Hex } from '../../contract/bytes.ts'
import { present } from '../../contract/present.ts'
import type { SeededRandom } from '../../contract/random.ts'
import { agentConfig, REPORT_INTERVAL_MS } from '../../device/core/agent/agent-config.ts'
import type { AgentEffect, AgentState } from '../../device/core/agent/agent-state.ts'
import { type BootRecord, readRecord } from '../../device/core/flash/boot-record.ts'
import { type FlashLayout, layoutOf, type SlotIndex } from '../../device/core/flash/flash-layout.ts'
import { AgentHost } from '../../device/core/host.ts'
import { type Heard, zeroBins } from '../../device/core/listen/heard.ts'
import { radioNamed } from '../../device/core/power/energy.ts'
import { WatchdogTimer } from '../../device/core/watchdog-timer.ts'
import { MAINS } from '../../device/ports/battery.ts'
import type { Flash } from '../../device/ports/flash.ts'
import { boardNamed } from '../../model/boards.ts'
import type { Engine } from '../../model/engine/engine.ts'
import { VirtualClock } from '../clock-virtual.ts'
import { type FlashImage, FlashNor } from '../flash-nor.ts'
import type { MemoryRepository } from '../memory-repository.ts'
import { ScriptedGateway } from './gateway-scripted.ts'
import { CUT_CHIPS, type CutChip } from './power-cut-chips.ts'
import { CUT_BOARD, CUT_DEVICE, CUT_SITE, CUT_START_MS, type TrialImage } from './power-cut-images.ts'
import { digestOf, FlashPromises, PairReader } from './power-cut-promises.ts'
import { rememberedSchemes } from './remembered-signatures.ts'

const BOARD = present(boardNamed(CUT_BOARD), CUT_BOARD)
/** All lives meet the same documents. */
const MEMORY_OF_SIGNATURES = rememberedSchemes()
const STEP_MS = 10 * 60_000
/** Turns of one life without virtual time moving; a download takes about twenty. */
const TURNS_MAX = 100_000
const DAY_MS = 24 * 3_600_000

/** What must have been true all along, as far as a cut device can be held to it. */
export interface Past {
  /** sha256 of the image that was confirmed last, hex */
  readonly confirmed: string
  /** sha256 of the image whose confirming record has been begun since, hex; '': none */
  readonly confirming: string
  /** the running image is on trial, and its record says so */
  readonly onTrial: boolean
  /** highest security counter that a boot has seen in a record */
  readonly securityCounter: number
  /** of the last record that a boot has seen */
  readonly incarnation: number | undefined
  /** sha256 of the verified image that may take the place of the confirmed one, which is damaged, hex; '': none may */
  readonly fallBack: string
}

export type Breach = 'brick' | 'unverified boot' | 'counter decrease' | 'lost message' | 'broken promise'

export interface CutWorldOptions {
  readonly engine: Engine
  readonly images: readonly TrialImage[]
  readonly repository: MemoryRepository
  readonly breach: (kind: Breach, what: string) => void
  /** shared by the worlds of one chip, for speed */
  readonly reader?: PairReader | undefined
  /** default: the first of CUT_CHIPS */
  readonly chip?: CutChip | undefined
  /** what bits read as that a cut has left undecided; undefined: it leaves none */
  readonly undecided?: SeededRandom | undefined
  /** what the device sees of the chip; for firmware that is wrong on purpose */
  readonly flashOf?: ((flash: FlashNor) => Flash) | undefined
}

/** One device between power cuts: the shipping host on simulated flash, a gateway in memory and a virtual clock. Every boot is held
 *  to the invariants of docs/install.md. */
export class CutWorld {
  readonly flash: FlashNor
  readonly layout: FlashLayout
  readonly gateway: ScriptedGateway
  past: Past
  /** boots since the world was made */
  boots = 0
  /** what becomes of an operation, as FlashNor.onOperation has it */
  onOperation: FlashNor['onOperation']
  readonly promises: FlashPromises
  readonly #options: CutWorldOptions
  /** an operation has failed: what the flash says may be of before */
  #hasFailed = false
  /** number of the newest boot that the flash knows of */
  #bootId: number
  /** when the messages that wait were first seen, wall ms by digest */
  readonly #seenMs = new Map<string, number>()
  #clock = new VirtualClock(CUT_START_MS)
  #host: AgentHost | undefined

  constructor(options: CutWorldOptions, image: FlashImage, past: Past) {
    this.#options = options
    this.past = past
    this.flash = new FlashNor(options.chip ?? CUT_CHIPS[0])
    this.flash.undecided = options.undecided
    this.flash.restore(image)
    const layout = layoutOf(this.flash)
    if (!layout.ok) throw new Error(layout.error.detail)
    this.layout = layout.value
    const artifacts = options.images.flatMap(({ bundle, patches }) => [bundle, ...patches])
    const byHash = new Map(artifacts.map((artifact) => [sha256Hex(artifact), artifact]))
    this.gateway = new ScriptedGateway(byHash, options.repository)
    this.gateway.isHeard = () => !this.flash.dead
    this.promises = new FlashPromises({
      ...{ flash: this.flash, layout: this.layout, reader: options.reader ?? new PairReader(this.layout) },
      hasTaken: (digest) => this.gateway.taken.has(digest),
      hasHeardOf: (code) => this.gateway.eventCodes.includes(code),
      breach: options.breach,
      isUndecided: options.undecided !== undefined,
    })
    // Of a record that reads differently each time nobody can say which boot was the last one to run.
    this.#bootId = options.undecided === undefined ? (this.record?.boots ?? 0) : 0
    this.flash.onOperation = (operation, index) => {
      this.promises.check()
      this.#judgePlace(operation.offset)
      const fault = this.onOperation?.(operation, index)
      if (fault?.kind === 'failed') this.#hasFailed = true
      return fault
    }
  }

  get record(): BootRecord | undefined {
    return readRecord(this.flash, this.layout)
  }

  get state(): AgentState | undefined {
    return this.#host?.state
  }

  get host(): AgentHost | undefined {
    return this.#host
  }

  /** Power on.
   *  @param mayBeBlank an image may never have been there
   *  @returns false for a brick, which has been told */
  async boot(mayBeBlank = false): Promise<boolean> {
    await this.off()
    this.flash.powerUp()
    // The same time at every boot: what a device does then depends on its flash and the gateway alone.
    this.#clock = new VirtualClock(CUT_START_MS + DAY_MS)
    const { engine, flashOf } = this.#options
    const started = await AgentHost.start({
      config: agentConfig({
        device: CUT_DEVICE,
        site: CUT_SITE,
        board: BOARD,
        radio: present(radioNamed('ble-1m'), 'the radio'),
        level: 'full',
        trustRoot: this.#options.repository.root,
        schemes: MEMORY_OF_SIGNATURES,
      }),
      flash: flashOf?.(this.flash) ?? this.flash,
      engine,
      transport: this.gateway,
      battery: MAINS,
      clock: this.#clock,
      watchdog: new WatchdogTimer(this.#clock),
      observe: (effect, state) => this.#observe(effect, state),
    })
    this.#host = started.ok ? started.value : undefined
    if (started.ok || this.flash.dead) return true
    if (!mayBeBlank || started.error.code !== 'no-fallback-slot') {
      this.#options.breach('brick', `${started.error.code}: ${started.error.detail}`)
    }
    return false
  }

  /** Lives until `done` holds, the power goes, or `hoursMax` of virtual time have passed.
   *  @returns whether `done` holds */
  async live(done: () => boolean, hoursMax: number): Promise<boolean> {
    const end = this.#clock.wallMs() + hoursMax * 3_600_000
    for (let turn = 0; turn < TURNS_MAX; turn++) {
      if (this.flash.dead || this.#host === undefined) return false
      if (this.#host.state === undefined) {
        const booted = await this.#host.booted()
        if (this.flash.dead) return false
        if (!booted.ok) {
          this.#options.breach('brick', `${booted.error.code}: ${booted.error.detail}`)
          return false
        }
        continue
      }
      if (this.gateway.deliver()) continue
      if (done()) return true
      if (this.#host.state?.update.phase === 'checking') {
        await new Promise((resolve) => setImmediate(resolve))
        continue
      }
      this.#judgeQueue()
      if (this.#clock.wallMs() >= end) return false
      this.#host.hear(LISTENED)
      this.#clock.advanceTo(this.#clock.wallMs() + STEP_MS)
    }
    return false
  }

  /** Power off. */
  async off(): Promise<void> {
    await this.#host?.close()
    this.#host = undefined
    this.#seenMs.clear()
    this.promises.check()
  }

  /** The image that runs is never written over, whatever the record could or could not be made to say. */
  #judgePlace(offset: number): void {
    const running = this.state && this.layout.slots[this.state.slot]
    if (running === undefined || offset < running || offset >= running + this.layout.slotBytes) return
    this.#options.breach('broken promise', `the slot that runs is written, at ${offset}`)
  }

  /** What waits for longer than a report takes to come is in flash too. */
  #judgeQueue(): void {
    const nowMs = this.#clock.wallMs()
    for (const { payload } of this.state?.outbox.messages ?? []) {
      const digest = digestOf(payload)
      const seenMs = this.#seenMs.get(digest) ?? nowMs
      this.#seenMs.set(digest, seenMs)
      if (nowMs - seenMs <= REPORT_INTERVAL_MS + STEP_MS || this.promises.holds(digest)) continue
      this.#options.breach('lost message', `a message has waited for ${nowMs - seenMs} ms and is not in flash`)
    }
  }

  /** sha256 of the first bytes of a slot, hex */
  slotSha256(slot: SlotIndex, bytes: number): string {
    return createHash('sha256')
      .update(this.flash.read(this.layout.slots[slot], Math.min(bytes, this.layout.slotBytes)))
      .digest('hex')
  }

  #observe(effect: AgentEffect, state: AgentState): void {
    if (
      effect.type === 'write-record' &&
      effect.record.phase === 'confirmed' &&
      effect.record.active !== state.record.active
    ) {
      this.past = { ...this.past, confirming: bytesToHex(effect.record.images[effect.record.active].sha256) }
    }
    if (effect.type === 'save-spool' && !this.flash.dead) this.promises.spooled(effect.outbox.messages)
    if (effect.type === 'tell-event' && effect.code === 'install-confirmed' && this.past.confirming !== '')
      this.#confirmed()
    if (effect.type === 'tell-event' && effect.code === 'booted' && !this.flash.dead) this.#judge(state)
  }

  #confirmed(): void {
    const record = this.record
    const sha256 = record && bytesToHex(record.images[record.active].sha256)
    if (!this.flash.dead && sha256 !== this.past.confirming) {
      this.#options.breach('broken promise', 'install-confirmed is said of an image that the record does not confirm')
    }
    this.past = { ...this.past, confirmed: this.past.confirming, confirming: '', onTrial: false }
  }

  /** The invariants, at every boot. */
  #judge({ record, slot }: AgentState): void {
    this.boots++
    const { breach, images } = this.#options
    const { past } = this
    const known = new Set(images.map(({ release }) => release.sha256))
    const running = this.slotSha256(slot, record.images[slot].bytes)
    if (!known.has(running) || running !== bytesToHex(record.images[slot].sha256)) {
      breach('unverified boot', `slot ${slot} holds ${running.slice(0, 16)}…`)
    }
    if (record.securityCounter < past.securityCounter) {
      breach('counter decrease', `${past.securityCounter} to ${record.securityCounter}`)
    }
    // A write that has failed leaves the number of the boot before; then it does come twice.
    if (this.record?.boots === record.boots) {
      if (record.boots <= this.#bootId) breach('broken promise', `boot ${record.boots} comes twice`)
      this.#bootId = record.boots
    } else if (!this.#hasFailed) breach('broken promise', `boot ${record.boots} runs, and no record knows of it`)
    // A record of which both copies have rotted takes it along.
    if (record.incarnation !== past.incarnation && record.untold !== 'image-found') {
      breach('broken promise', `incarnation ${past.incarnation} has become ${record.incarnation}`)
    }
    const active = bytesToHex(record.images[record.active].sha256)
    const kept = this.slotSha256(record.active, record.images[record.active].bytes)
    if (kept !== active) breach('broken promise', 'the confirmed image is not kept')
    if (![past.confirmed, past.confirming, past.fallBack].includes(active)) {
      breach('broken promise', `confirmed was ${past.confirmed.slice(0, 8)}, now it is ${active.slice(0, 8)}`)
    }
    const trial = slot !== record.active
    if (trial && past.onTrial) breach('broken promise', 'a trial that was not confirmed is not reverted')
    if (trial && record.phase !== 'running') breach('broken promise', 'a trial runs that the record does not know of')
    this.past = {
      confirmed: active,
      confirming: '',
      onTrial: trial,
      securityCounter: Math.max(past.securityCounter, record.securityCounter),
      incarnation: record.incarnation,
      // Once it runs, nothing else may take its place.
      fallBack: active === past.fallBack ? '' : past.fallBack,
    }
  }
}

/** Ten minutes of silence. */
const LISTENED: Heard = {
  listeningMs: STEP_MS,
  elapsedMs: STEP_MS,
  windows: 3_000,
  openWindows: 0,
  inferences: 0,
  gateOpenings: 0,
  overruns: 0,
  wakes: [],
  posteriorBins: zeroBins(),
  noiseBins: zeroBins(),
}
