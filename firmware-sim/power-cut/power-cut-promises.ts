import { createHash } from 'node:crypto'
import type { EventCode } from '../../contract/messages.ts'
import { readRecord, type Untold } from '../../device/core/flash/boot-record.ts'
import { readFrame } from '../../device/core/flash/flash-frame.ts'
import type { FlashLayout } from '../../device/core/flash/flash-layout.ts'
import type { PairRegion } from '../../device/core/flash/record-pair.ts'
import { readTrust, type TrustRecord } from '../../device/core/flash/trust-record.ts'
import { decodeSpool, type OutboxMessage } from '../../device/core/outbox.ts'
import type { FlashNor } from '../flash-nor.ts'

const PAIRS = ['boot', 'identity', 'trust', 'spool', 'progress'] as const
type Pair = (typeof PAIRS)[number]

/** What each pair of records says: a digest of its content; undefined: nothing whole. */
export type Contents = Readonly<Record<Pair, string | undefined>>

const hashOf = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()
export const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64')

interface Held {
  readonly digest: string
  readonly payload: Uint8Array
}

/** Reads pairs of records without the firmware's own choice between two frames, each content of the flash once. */
export class PairReader {
  readonly #layout: FlashLayout
  readonly #numbers = new WeakMap<Uint8Array, number>()
  #next = 1
  /** the newest few by place; a story has a few hundred contents, and a sweep asks in order */
  readonly #known = new Map<string, Held | undefined>()

  constructor(layout: FlashLayout) {
    this.#layout = layout
  }

  contents(flash: FlashNor): Contents {
    const digestAt = (pair: Pair) => this.#newest(flash, pair)?.digest
    return {
      ...{ boot: digestAt('boot'), identity: digestAt('identity'), trust: digestAt('trust') },
      ...{ spool: digestAt('spool'), progress: digestAt('progress') },
    }
  }

  /** Digests of the messages in the spool. */
  messages(flash: FlashNor): ReadonlySet<string> {
    const held = this.#newest(flash, 'spool')
    return new Set(held === undefined ? [] : decodeSpool(held.payload).messages.map(({ payload }) => digestOf(payload)))
  }

  #newest(flash: FlashNor, pair: Pair): Held | undefined {
    const region: PairRegion = this.#layout[pair]
    let place = `${pair}:`
    for (const area of region.areas) {
      for (let at = area; at < area + region.areaBytes; at += flash.sectorBytes) {
        place += `${this.#numberOf(flash.sector(at / flash.sectorBytes))},`
      }
    }
    if (this.#known.has(place)) return this.#known.get(place)
    const [a, b] = region.areas.map((area) => readFrame(flash, area, region.areaBytes, hashOf))
    const newer = a !== undefined && (b === undefined || ((a.seq - b.seq) | 0) > 0) ? a : b
    const held = newer && { digest: digestOf(newer.payload), payload: newer.payload }
    if (this.#known.size >= KNOWN_MAX) this.#known.clear()
    this.#known.set(place, held)
    return held
  }

  #numberOf(sector: Uint8Array | undefined): number {
    if (sector === undefined) return 0
    const number = this.#numbers.get(sector) ?? this.#next++
    this.#numbers.set(sector, number)
    return number
  }
}

/** chosen: the contents of several stories, some megabytes */
const KNOWN_MAX = 5_000

interface RootDocument {
  readonly signed: {
    readonly version: number
    readonly roles: Readonly<Record<string, { readonly keyids: readonly string[] }>>
  }
}

/** Why what is trusted now is less than what was, if it is.
 *  @see TUF 1.0.33, 5.3.11: with keys of its own gone, timestamp and snapshot begin anew */
function lessTrusted(before: TrustRecord, now: TrustRecord): string | undefined {
  const parse = (bytes: Uint8Array | undefined) =>
    bytes && (JSON.parse(new TextDecoder().decode(bytes)) as RootDocument).signed
  const [rootBefore, rootNow] = [parse(before.files.root), parse(now.files.root)]
  if (rootBefore === undefined || rootNow === undefined) return undefined
  if (rootNow.version < rootBefore.version) return `root ${rootNow.version} after ${rootBefore.version}`
  const keysOf = ({ roles }: RootDocument['signed'], role: string) => roles[role]?.keyids ?? []
  const isRotated = ['timestamp', 'snapshot'].some((role) =>
    keysOf(rootBefore, role).some((id) => !keysOf(rootNow, role).includes(id)),
  )
  if (isRotated) return undefined
  for (const role of ['timestamp', 'snapshot'] as const) {
    const [versionBefore = 0, versionNow = 0] = [parse(before.files[role])?.version, parse(now.files[role])?.version]
    if (versionNow < versionBefore) return `${role} ${versionNow} after ${versionBefore}`
  }
  const isSameWitness = before.floor.witness === now.floor.witness
  return isSameWitness && now.floor.floorMs < before.floor.floorMs ? 'the floor under the clock falls' : undefined
}

interface PromiseParts {
  readonly flash: FlashNor
  readonly layout: FlashLayout
  readonly reader: PairReader
  /** whether the gateway has a message, by its digest, or an event of a kind, of this life */
  readonly hasTaken: (digest: string) => boolean
  readonly hasHeardOf: (code: EventCode) => boolean
  readonly breach: (kind: 'lost message' | 'broken promise', what: string) => void
  /** bits may read as one thing now and another then: what flash says between two operations is no fact, and is not judged */
  readonly isUndecided: boolean
}

/** What flash must go on saying between any two operations of a life, since the power may go there:
 *  a pair of records that has had a content has one; what was spooled is acknowledged or still in flash; what is trusted only grows; what
 *  is to be told is struck out when the gateway has it. */
export class FlashPromises {
  readonly #parts: PromiseParts
  /** digests of the messages that flash must hold until the gateway has them */
  readonly #kept: Set<string>
  #contents: Contents
  #trust: TrustRecord | undefined
  #untold: Untold

  constructor(parts: PromiseParts) {
    const { flash, layout, reader } = parts
    this.#parts = parts
    this.#contents = reader.contents(flash)
    this.#kept = new Set(parts.isUndecided ? [] : reader.messages(flash))
    this.#trust = readTrust(flash, layout)
    this.#untold = readRecord(flash, layout)?.untold ?? 'none'
  }

  /** what the pairs say between two operations */
  get contents(): Contents {
    return this.#contents
  }

  /** digests of messages that were spooled and are not acknowledged */
  get kept(): readonly string[] {
    return [...this.#kept].filter((digest) => !this.#parts.hasTaken(digest))
  }

  /** The firmware says that these are in flash. */
  spooled(messages: readonly OutboxMessage[]): void {
    for (const { payload } of messages) this.#kept.add(digestOf(payload))
    this.check()
  }

  /** Whether the gateway or the flash has a message. */
  holds(digest: string): boolean {
    return this.#parts.hasTaken(digest) || this.#kept.has(digest)
  }

  /** To be asked before each operation and at the end of a life. */
  check(): void {
    if (this.#parts.isUndecided) return
    const { flash, layout, reader, breach } = this.#parts
    const now = reader.contents(flash)
    const before = this.#contents
    this.#contents = now
    const { kept } = this
    if (kept.length > 0) {
      const lost = missing(kept, reader.messages(flash))
      if (lost > 0) breach('lost message', `${lost} of ${kept.length} messages are neither acknowledged nor in flash`)
    }
    for (const digest of this.#kept) if (!kept.includes(digest)) this.#kept.delete(digest)
    for (const pair of PAIRS) {
      if (before[pair] !== undefined && now[pair] === undefined) breach('broken promise', `the ${pair} record is lost`)
    }
    if (now.trust !== before.trust) this.#judgeTrust(readTrust(flash, layout))
    if (now.boot !== before.boot) this.#judgeUntold(readRecord(flash, layout)?.untold ?? 'none')
  }

  #judgeTrust(now: TrustRecord | undefined): void {
    const before = this.#trust
    this.#trust = now ?? before
    const wrong = before && now && lessTrusted(before, now)
    if (wrong !== undefined) this.#parts.breach('broken promise', `less is trusted than before: ${wrong}`)
  }

  #judgeUntold(now: Untold): void {
    const before = this.#untold
    this.#untold = now
    if (before === 'none' || now !== 'none' || this.#parts.hasHeardOf(before)) return
    this.#parts.breach('broken promise', `"${before}" is struck out before anybody has heard of it`)
  }
}

/** How many of these messages are not there. */
export const missing = (digests: readonly string[], there: ReadonlySet<string>): number =>
  digests.filter((digest) => !there.has(digest)).length

/** What a cut in an operation may have left of the pairs: each says what it said before it, or after it.
 *  @returns the pair that does not */
export function tornPair(cut: Contents, before: Contents, after: Contents): string | undefined {
  return PAIRS.find((pair) => cut[pair] !== before[pair] && cut[pair] !== after[pair])
}
