import type { Statement } from 'better-sqlite3'
import type { MessageCounters } from '../message-counters.ts'
import type { AssignmentTag } from './aggregation.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { DeviceTable } from './device-table.ts'
import type { Settings, Store } from './store.ts'

/** The newest assignment of a device. */
export interface HeldAssignment {
  readonly site: string
  readonly device: string
  readonly seq: number
  /** signed document as the device gets it */
  readonly document: Uint8Array
}

/** An assignment as it came, and which comparison it puts the device in. */
export interface NewAssignment {
  readonly held: HeldAssignment
  readonly tag: AssignmentTag
}

/** One that was stored; the device may have moved from another site. */
export interface ChangedAssignment {
  readonly held: HeldAssignment
  readonly formerSite: string | undefined
}

const CURSOR = 'assignment-cursor'
const SITES = 'assignment-sites'

/** When the cloud made it, by what it says itself; it was parsed when it came. */
function issuedMsOf(document: Uint8Array): number {
  const { signed } = JSON.parse(new TextDecoder().decode(document)) as { signed?: { issuedMs?: number } }
  return signed?.issuedMs ?? 0
}

/** The newest assignment of each device, on disk; the numbers in memory too, since every report is compared with one. */
export class HeldAssignments {
  readonly #settings: Settings
  readonly #devices: DeviceTable
  readonly #checkpoint: Checkpoint
  readonly #counters: MessageCounters
  readonly #current: Statement<[string], HeldAssignment>
  readonly #all: Statement<[], HeldAssignment>
  readonly #numbers: Statement<[], { device: string; seq: number }>
  readonly #write: Statement<[string, string, number, Uint8Array]>
  readonly #drop: Statement<[string]>
  /** of all devices: bounded as the retained messages are, by the fleet that the cloud assigns to */
  readonly #seqs = new Map<string, number>()

  constructor(parts: {
    readonly store: Store
    readonly settings: Settings
    readonly devices: DeviceTable
    readonly checkpoint: Checkpoint
    readonly counters: MessageCounters
  }) {
    this.#settings = parts.settings
    this.#devices = parts.devices
    this.#checkpoint = parts.checkpoint
    this.#counters = parts.counters
    const { store } = parts
    this.#current = store.prepare('SELECT * FROM assignment WHERE device = ?')
    this.#all = store.prepare('SELECT * FROM assignment')
    this.#numbers = store.prepare('SELECT device, seq FROM assignment')
    this.#write = store.prepare(
      `INSERT INTO assignment (device, site, seq, document) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET site = excluded.site, seq = excluded.seq, document = excluded.document`,
    )
    this.#drop = store.prepare('DELETE FROM assignment WHERE device = ?')
    this.reset()
  }

  /** Up to where the cloud's feed was read. */
  get cursor(): string {
    return this.#settings.get(CURSOR) ?? '0'
  }

  all(): HeldAssignment[] {
    return this.#all.all()
  }

  of(device: string): HeldAssignment | undefined {
    return this.#current.get(device)
  }

  /** Whether a newer assignment is held than the device says it accepted. */
  isBehind(device: string, acceptedSeq: number): boolean {
    const held = this.#seqs.get(device)
    return held !== undefined && held > acceptedSeq
  }

  /** Inside a transaction: stores what is newer, and the cursor. A number that goes back is counted and ignored. */
  take(items: readonly NewAssignment[], cursor: number): ChangedAssignment[] {
    const changed: ChangedAssignment[] = []
    for (const { held, tag } of items) {
      const current = this.#current.get(held.device)
      if (current !== undefined && current.seq >= held.seq) {
        this.#counters.add('assignment', current.seq === held.seq ? 'duplicate' : 'replayed')
        continue
      }
      this.#write.run(held.device, held.site, held.seq, held.document)
      this.#seqs.set(held.device, held.seq)
      this.#devices.addTag(held.device, tag)
      changed.push({ held, formerSite: current?.site })
    }
    // Tags say where later reports count: a replay must find those that were known then.
    this.#checkpoint.require()
    this.#settings.set(CURSOR, String(cursor))
    return changed
  }

  /** Inside a transaction: forgets the device's assignment if it was made before the time given; one that came since stays.
   *  @param beforeMs Unix ms of the cloud
   *  @returns what was dropped */
  drop(device: string, beforeMs: number): HeldAssignment | undefined {
    const held = this.#current.get(device)
    if (held === undefined || issuedMsOf(held.document) >= beforeMs) return undefined
    this.#drop.run(device)
    this.#seqs.delete(device)
    return held
  }

  /** Inside a transaction: forgets what is held for a device at a site that it has left. @returns what was dropped */
  leave(departed: readonly { readonly device: string; readonly site: string }[]): HeldAssignment[] {
    const dropped: HeldAssignment[] = []
    for (const { device, site } of departed) {
      const held = this.#current.get(device)
      // It may have come back, or have arrived at another site of ours.
      if (held === undefined || held.site !== site) continue
      this.#drop.run(device)
      this.#seqs.delete(device)
      dropped.push(held)
    }
    return dropped
  }

  /** Inside a transaction: serves these sites from now on. When they are others than before, the feed is read from its beginning, and what is
   *  held for sites that are none of ours is forgotten.
   *  @param sites none: all */
  serve(sites: readonly string[]): void {
    const wanted = JSON.stringify([...sites].sort())
    if ((this.#settings.get(SITES) ?? '[]') === wanted) return
    const ours = new Set(sites)
    for (const { device, site } of sites.length === 0 ? [] : this.all()) if (!ours.has(site)) this.#drop.run(device)
    this.#settings.set(SITES, wanted)
    this.#settings.set(CURSOR, '0')
    this.reset()
  }

  /** After a rollback: what the table says is true. */
  reset(): void {
    this.#seqs.clear()
    for (const { device, seq } of this.#numbers.iterate()) this.#seqs.set(device, seq)
  }
}
