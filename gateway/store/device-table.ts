import type { Statement } from 'better-sqlite3'
import { present } from '../../contract/present.ts'
import type { AssignmentTag } from './aggregation.ts'
import type { BootClock } from './boot-clock.ts'
import { latestSums, type ReportRun, SUM_NAMES, type Sums } from './report-timeline.ts'
import { type SeqRange, seqBefore } from './seq-ranges.ts'
import type { Store } from './store.ts'

/** What is remembered of one boot of a device. */
export interface BootState extends BootClock {
  /** row in the store; 0 before the first write. Rows lie in the order in which boots began, so those that are written together,
   *  the running ones, share pages: by (device, boot) each would dirty a page of its own. */
  id: number
  readonly runs: ReportRun[]
  readonly wakes: SeqRange[]
  readonly events: SeqRange[]
  /** assignment of the newest report; undefined before the first */
  assignmentSeq: number | undefined
  dirty: boolean
}

/** What is remembered of a device. */
export interface DeviceState {
  readonly device: string
  /** newest assignment it said it accepted */
  acceptedSeq: number
  /** boots before this one are closed: their messages are no longer counted; 0 for none. As the keys of `boots` */
  closedBelow: number
  /** sums of the closed boots */
  closedSums: Sums
  /** by ordinal of the incarnation × 2^32 + boot */
  readonly boots: Map<number, BootState>
  /** in the order in which they were first heard of; the ordinal of the first is `firstOrdinal` */
  readonly incarnations: number[]
  firstOrdinal: number
  /** ascending by seq */
  tags: readonly AssignmentTag[]
  /** anything of it but boots and tags differs from the store */
  changed: boolean
  /** is listed for the next write */
  dirty: boolean
}

/** Boot numbers of one incarnation are below this. */
const BOOTS = 2 ** 32
/** chosen: boards that took each other's place under one id; of one that is forgotten, late messages count as those of a new one */
const INCARNATIONS_MAX = 64
/** chosen: a store-and-forward queue spans a few boots, a crash loop some more */
const BOOTS_MAX = 16
/** chosen: old assignments matter only until the device reports a newer one */
const TAGS_MAX = 8
/** chosen: about 1 kB each; devices past it are read back from the store when they speak */
const CACHED_DEVICES_MAX = 20_000

/** Per-device state: read on first use, changed in memory, written at each checkpoint (checkpoint.ts). */
export class DeviceTable {
  readonly #cache = new Map<string, DeviceState>()
  readonly #dirty: DeviceState[] = []
  /** rows of boots that were closed since the last write */
  readonly #closedBoots: number[] = []
  readonly #readDevice: Statement<[string], { state: string }>
  readonly #readBoots: Statement<[string], { id: number; boot: number; state: string }>
  readonly #readTags: Statement<[string], AssignmentTag>
  readonly #writeDevice: Statement<[string, string]>
  readonly #addBoot: Statement<[string, number, string]>
  readonly #writeBoot: Statement<[string, number]>
  readonly #deleteBoot: Statement<[number]>
  readonly #addTag: Statement<[string, number, string, number, string, string]>
  readonly #trimTags: Statement<[string, string, number]>

  constructor(store: Store) {
    this.#readDevice = store.prepare('SELECT state FROM device WHERE id = ?')
    this.#readBoots = store.prepare('SELECT id, boot, state FROM boot WHERE device = ?')
    this.#readTags = store.prepare(
      'SELECT seq, rollout, stage, arm, board FROM assignment_tag WHERE device = ? ORDER BY seq',
    )
    this.#writeDevice = store.prepare(
      'INSERT INTO device VALUES (?, ?) ON CONFLICT DO UPDATE SET state = excluded.state',
    )
    this.#addBoot = store.prepare('INSERT INTO boot (device, boot, state) VALUES (?, ?, ?)')
    this.#writeBoot = store.prepare('UPDATE boot SET state = ? WHERE id = ?')
    this.#deleteBoot = store.prepare('DELETE FROM boot WHERE id = ?')
    this.#addTag = store.prepare('INSERT OR REPLACE INTO assignment_tag VALUES (?, ?, ?, ?, ?, ?)')
    this.#trimTags = store.prepare(
      'DELETE FROM assignment_tag WHERE device = ? AND seq NOT IN (SELECT seq FROM assignment_tag WHERE device = ? ORDER BY seq DESC LIMIT ?)',
    )
  }

  get(device: string): DeviceState {
    const cached = this.#cache.get(device)
    if (cached !== undefined) return cached
    const row = this.#readDevice.get(device)
    const boots = new Map<number, BootState>()
    for (const { id, boot, state } of this.#readBoots.all(device)) {
      const [runs, wakes, events, assignmentSeq, startedMs, uptimeMs, wallOffsetMs] = JSON.parse(state) as [
        ...[ReportRun[], SeqRange[], SeqRange[], number | null],
        ...[startedMs?: number | null, uptimeMs?: number, wallOffsetMs?: number | null],
      ]
      boots.set(boot, {
        ...{ id, runs, wakes, events, assignmentSeq: assignmentSeq ?? undefined, dirty: false },
        ...{ startedMs: startedMs ?? undefined, uptimeMs: uptimeMs ?? 0, wallOffsetMs: wallOffsetMs ?? undefined },
      })
    }
    const stored = row === undefined ? [0, 0, SUM_NAMES.map(() => 0)] : (JSON.parse(row.state) as unknown[])
    // What was stored before incarnations were told apart is of the one without a number.
    const before = row === undefined && boots.size === 0 ? [] : [0]
    const [acceptedSeq, closedBelow, closedSums, firstOrdinal = 0, incarnations = before] = stored as [
      ...[acceptedSeq: number, closedBelow: number, closedSums: number[]],
      ...[firstOrdinal?: number, incarnations?: number[]],
    ]
    const tags = this.#readTags.all(device)
    const state: DeviceState = {
      device,
      acceptedSeq,
      closedBelow,
      closedSums,
      boots,
      incarnations,
      firstOrdinal,
      tags,
      changed: false,
      dirty: false,
    }
    this.#cache.set(device, state)
    return state
  }

  /** The key of a boot in `boots`: a new incarnation comes after all that were heard of before it. */
  key(state: DeviceState, boot: number, incarnation = 0): number {
    const { incarnations } = state
    let index = incarnations.indexOf(incarnation)
    if (index < 0) {
      index = incarnations.push(incarnation) - 1
      if (incarnations.length > INCARNATIONS_MAX) {
        incarnations.shift()
        state.firstOrdinal++
        index--
      }
      state.changed = true
      this.touch(state)
    }
    return (state.firstOrdinal + index) * BOOTS + boot
  }

  /** The boot after one of the same incarnation, if it was heard of. */
  next(state: DeviceState, key: number): BootState | undefined {
    let next: number | undefined
    for (const other of state.boots.keys()) {
      if (Math.floor(other / BOOTS) !== Math.floor(key / BOOTS) || !bootBefore(key, other)) continue
      if (next === undefined || bootBefore(other, next)) next = other
    }
    return next === undefined ? undefined : state.boots.get(next)
  }

  /** The state of one boot, new when it was not seen before; undefined when it is closed. At BOOTS_MAX the oldest is closed: its
   *  sums are kept, its stragglers are not counted any more.
   *  @param boot a key of `boots` */
  boot(state: DeviceState, boot: number): BootState | undefined {
    const known = state.boots.get(boot)
    if (known !== undefined) return known
    if (state.closedBelow !== 0 && bootBefore(boot, state.closedBelow)) return undefined
    const fresh: BootState = {
      ...{ id: 0, runs: [], wakes: [], events: [], assignmentSeq: undefined, dirty: false },
      ...{ startedMs: undefined, uptimeMs: 0, wallOffsetMs: undefined },
    }
    state.boots.set(boot, fresh)
    if (state.boots.size > BOOTS_MAX) {
      const [oldest, second] = [...state.boots.keys()].sort((a, b) => (bootBefore(a, b) ? -1 : 1))
      if (oldest === undefined || second === undefined) throw new Error('two boots beyond the bound are missing')
      const closed = present(state.boots.get(oldest), 'the oldest boot')
      const sums = latestSums(closed.runs)
      state.closedSums = state.closedSums.map((sum, i) => sum + sums[i]!)
      state.closedBelow = second
      state.boots.delete(oldest)
      if (closed.id !== 0) this.#closedBoots.push(closed.id)
      state.changed = true
      this.touch(state)
      if (oldest === boot) return undefined
    }
    return fresh
  }

  /** Takes note of an assignment that the device says it accepted. */
  accept(state: DeviceState, assignmentSeq: number): void {
    if (assignmentSeq <= state.acceptedSeq) return
    state.acceptedSeq = assignmentSeq
    state.changed = true
    this.touch(state)
  }

  /** Marks for the next `writeDirty`. */
  touch(state: DeviceState, boot?: BootState): void {
    if (boot !== undefined) boot.dirty = true
    if (!state.dirty) {
      state.dirty = true
      this.#dirty.push(state)
    }
  }

  /** Inside the transaction of a checkpoint. */
  writeDirty(): void {
    for (const state of this.#dirty) {
      state.dirty = false
      if (state.changed) {
        state.changed = false
        const { device, acceptedSeq, closedBelow, closedSums, firstOrdinal, incarnations } = state
        const text = JSON.stringify([acceptedSeq, closedBelow, closedSums, firstOrdinal, incarnations])
        this.#writeDevice.run(device, text)
      }
      for (const [number, boot] of state.boots) {
        if (!boot.dirty) continue
        boot.dirty = false
        const { runs, wakes, events, assignmentSeq, startedMs, uptimeMs, wallOffsetMs } = boot
        const clock = [startedMs ?? null, uptimeMs, wallOffsetMs ?? null]
        const text = JSON.stringify([runs, wakes, events, assignmentSeq ?? null, ...clock])
        if (boot.id === 0) boot.id = Number(this.#addBoot.run(state.device, number, text).lastInsertRowid)
        else this.#writeBoot.run(text, boot.id)
      }
    }
    this.#dirty.length = 0
    for (const id of this.#closedBoots.splice(0)) this.#deleteBoot.run(id)
    for (const device of this.#cache.keys()) {
      if (this.#cache.size <= CACHED_DEVICES_MAX) break
      this.#cache.delete(device)
    }
  }

  /** Remembers which comparison an assignment puts a device in; keeps the newest TAGS_MAX. */
  addTag(device: string, tag: AssignmentTag): void {
    this.#addTag.run(device, tag.seq, tag.rollout, tag.stage, tag.arm, tag.board)
    this.#trimTags.run(device, device, TAGS_MAX)
    const cached = this.#cache.get(device)
    if (cached !== undefined) cached.tags = this.#readTags.all(device)
  }

  /** Sums of a device over all its boots, in the order of SUM_NAMES. */
  sums(device: string): Sums {
    const { closedSums, boots } = this.get(device)
    const total = [...closedSums]
    for (const { runs } of boots.values()) {
      for (const [i, sum] of latestSums(runs).slice(0, SUM_NAMES.length).entries()) total[i]! += sum
    }
    return total
  }

  reset(): void {
    this.#cache.clear()
    this.#dirty.length = 0
    this.#closedBoots.length = 0
  }
}

const bootBefore = (a: number, b: number): boolean => {
  const [ofA, ofB] = [Math.floor(a / BOOTS), Math.floor(b / BOOTS)]
  return ofA === ofB ? seqBefore(a % BOOTS, b % BOOTS) : ofA < ofB
}
