import type { RolloutDevice, RolloutRecord } from '../store/rollout-store.ts'
import type { Store } from '../store/store.ts'
import { DeviceHours, Layouts } from './device-hours.ts'
import type { DeclaredPlaces, Signal } from './signals.ts'

/** A release as its devices report it. */
export interface Model {
  readonly prefix: string
  readonly places: DeclaredPlaces
}

/** What the kept hours of all devices share. */
export class KeptHours {
  readonly layouts = new Layouts()
  leftBytes: number

  /** @param bytes that they may take in all; hours beyond are read again at each look */
  constructor(bytes: number) {
    this.leftBytes = bytes
  }
}

/** What one device contributes to the evidence of a rollout, read from its rows when it is asked for and kept until one of them changes:
 *  nothing here depends on another device or, but for what is passed, on the time. */
export class DeviceEvidence {
  readonly row: RolloutDevice
  readonly #store: Store
  readonly #kept: KeptHours
  #isHeldOut: boolean | undefined
  #mayRun: boolean | undefined
  readonly #starts: { sinceMs: number; startMs: number | undefined }[] = []
  #events: Map<string, number | undefined> | undefined
  #hours: { readonly prefix: string; readonly fromMs: number; readonly hours: DeviceHours } | undefined

  constructor(store: Store, row: RolloutDevice, kept: KeptHours) {
    this.#store = store
    this.row = row
    this.#kept = kept
  }

  /** What it took is free again. */
  drop(): void {
    this.#kept.leftBytes += this.#hours?.hours.bytes ?? 0
    this.#hours = undefined
  }

  get isHeldOut(): boolean {
    this.#isHeldOut ??= this.#store.gateways.isHeldOut(this.row.device)
    return this.#isHeldOut
  }

  /** Whether the device may count as running the model for the rollout: by its own signed word if it has a key, under an assignment of the
   *  rollout. A device without one is taken at its reports, which a gateway could make up. */
  mayRun({ prefix }: Model): boolean {
    this.#mayRun ??= this.#asksToRun(prefix)
    return this.#mayRun
  }

  #asksToRun(prefix: string): boolean {
    const { identities } = this.#store
    const { device, sinceSeq } = this.row
    if (identities.keysOf(device).length === 0) return true
    const word = identities.attestedRun(device)
    return word?.model === prefix && sinceSeq !== null && (word.assignmentSeq ?? 0) >= sinceSeq
  }

  /** When it first ran the candidate at or after a moment, ms; undefined: it has not. */
  firstStart({ prefix }: Model, sinceMs: number): number | undefined {
    const known = this.#starts.find((start) => start.sinceMs === sinceMs)
    if (known !== undefined) return known.startMs
    const startMs = this.#store.outcomes.firstStart(this.row.device, prefix, sinceMs)
    this.#starts.push({ sinceMs, startMs })
    return startMs
  }

  /** When the first event that the signal counts was, after a moment that is always the same one; undefined: there was none. */
  eventAfter(signal: Signal, entryMs: number): number | undefined {
    this.#events ??= new Map()
    const { outcomes } = this.#store
    const { device } = this.row
    if (!this.#events.has(signal.name)) {
      const at =
        signal.source === 'restarts'
          ? outcomes.restartAfter(device, entryMs)
          : outcomes.eventAfter(device, signal.codes ?? [], entryMs)
      this.#events.set(signal.name, at)
    }
    return this.#events.get(signal.name)
  }

  /** Its hours with a model from a moment on. */
  hours(signals: readonly Signal[], { prefix, places }: Model, fromMs: number): DeviceHours {
    if (this.#hours?.prefix === prefix && this.#hours.fromMs === fromMs) return this.#hours.hours
    this.drop()
    const slots = this.#store.outcomes.slots(this.row.device, prefix, fromMs, Number.MAX_SAFE_INTEGER)
    const hours = new DeviceHours(slots, signals, places, this.#kept.layouts)
    if (hours.bytes > this.#kept.leftBytes) return hours
    this.#kept.leftBytes -= hours.bytes
    this.#hours = { prefix, fromMs, hours }
    return hours
  }
}

/** The devices of a rollout, in order of their row numbers, as of the last time that they were told what has changed. */
export class RolloutEvidence {
  readonly #store: Store
  readonly #rollout: string
  readonly #kept: KeptHours
  #devices = new Map<number, DeviceEvidence>()
  #inOrder: readonly DeviceEvidence[] | undefined

  constructor(store: Store, rollout: RolloutRecord, kept: KeptHours) {
    this.#store = store
    this.#rollout = rollout.id
    this.#kept = kept
    for (const row of store.rollouts.devices(rollout.id)) this.#put(row)
  }

  /** Reads anew what has changed. @param devices row numbers, also of devices that are in no rollout
   *  @returns whether any is of this one */
  refresh(devices: Iterable<number>): boolean {
    let any = false
    for (const device of devices) {
      const known = this.#devices.get(device)
      const row = this.#store.rollouts.device(this.#rollout, device)
      if (known === undefined && row === undefined) continue
      any = true
      known?.drop()
      if (row !== undefined) this.#put(row)
      else {
        this.#devices.delete(device)
        this.#inOrder = undefined
      }
    }
    return any
  }

  drop(): void {
    for (const device of this.#devices.values()) device.drop()
  }

  get devices(): readonly DeviceEvidence[] {
    this.#inOrder ??= [...this.#devices.values()].sort((a, b) => a.row.device - b.row.device)
    return this.#inOrder
  }

  #put(row: RolloutDevice): void {
    this.#devices.set(row.device, new DeviceEvidence(this.#store, row, this.#kept))
    this.#inOrder = undefined
  }
}
