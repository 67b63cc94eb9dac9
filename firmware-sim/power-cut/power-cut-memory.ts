import { createHash } from 'node:crypto'
import { bytesToHex } from '../../contract/bytes.ts'
import { readRecord } from '../../device/core/flash/boot-record.ts'
import { readFrame } from '../../device/core/flash/flash-frame.ts'
import type { FlashLayout } from '../../device/core/flash/flash-layout.ts'
import type { PairRegion } from '../../device/core/flash/record-pair.ts'
import type { FlashNor } from '../flash-nor.ts'

/** Which flash contents a story has been carried to its end from. Power has taken the RAM, clock and gateway begin alike, so what
 *  follows is a function of the flash sectors that the device reads before it erases them. Two contents that agree there
 *  have one and the same future, and it is lived once. Boot record, trust record, spool and progress are read through their frames only, so
 *  there a torn frame is like any other torn frame. */
export class CutMemory {
  readonly #layout: FlashLayout
  readonly #known = new Map<string, { readonly sectors: readonly number[]; readonly stories: Map<string, number> }>()
  readonly #countsMatter: boolean
  readonly #contents = new WeakMap<Uint8Array, number>()
  readonly #frames = new Map<string, number>()
  readonly #progress = new Map<string, { readonly seq: number; readonly content: string } | null>()
  readonly #numbers = new Map<string, number>()

  /** @param countsMatter false: numbers of frames and boots, and what spooled messages say, make no difference; for pairs of cuts,
   *  which differ in little else */
  constructor(layout: FlashLayout, countsMatter = true) {
    this.#layout = layout
    this.#countsMatter = countsMatter
  }

  /** @param held what the device is held to from here on: the same flash may be right after one past and wrong after another
   *  @returns the number of the story whose content was equal in all that it read; undefined: none was */
  find(flash: FlashNor, held: string): number | undefined {
    const framed = held + this.#framed(flash)
    for (const { sectors, stories } of this.#known.values()) {
      const story = stories.get(framed + this.#plain(flash, sectors))
      if (story !== undefined) return story
    }
    return undefined
  }

  /** @param before the content that the story began with
   *  @param watched the sectors that it read
   *  @param story its number */
  add(before: FlashNor, watched: readonly number[], held: string, story: number): void {
    const sectors = watched.filter((index) => !this.#isFramed(index * before.sectorBytes))
    const shape = sectors.join(',')
    const known = this.#known.get(shape) ?? { sectors, stories: new Map<string, number>() }
    this.#known.set(shape, known)
    known.stories.set(held + this.#framed(before) + this.#plain(before, sectors), story)
  }

  /** What is read through frames. */
  #framed(flash: FlashNor): string {
    const { boot, trust, spool } = this.#layout
    let key = ''
    if (this.#countsMatter) {
      for (const { areas, areaBytes } of [boot, trust, spool]) {
        for (const offset of areas) key += `${this.#frameOf(flash, offset, areaBytes)},`
      }
    } else key += `${this.#recordOf(flash)},${this.#framesOf(flash, trust)},${this.#framesOf(flash, spool)},`
    return `${key}${this.#progressOf(flash)}:`
  }

  /** What is read as it is. */
  #plain(flash: FlashNor, sectors: readonly number[]): string {
    let key = ''
    for (const index of sectors) key += `${this.#contentOf(flash.sector(index))},`
    return key
  }

  #isFramed(offset: number): boolean {
    const { boot, trust, progress, spool } = this.#layout
    return [boot, trust, progress, spool].some(({ areas, areaBytes }) =>
      areas.some((area) => offset >= area && offset < area + areaBytes),
    )
  }

  /** A number for each different content of a sector. */
  #contentOf(sector: Uint8Array | undefined): number {
    if (sector === undefined) return 0
    const known = this.#contents.get(sector)
    if (known !== undefined) return known
    const number = this.#numberOf(createHash('sha256').update(sector).digest('base64'))
    this.#contents.set(sector, number)
    return number
  }

  /** The boot record without its counts, and which area the next one goes to. */
  #recordOf(flash: FlashNor): number {
    const { boot } = this.#layout
    const [a, b] = boot.areas.map((offset) => readFrame(flash, offset, boot.areaBytes)?.seq)
    const next = a !== undefined && (b === undefined || a > b) ? 1 : 0
    const plain = (_key: string, value: unknown) => (value instanceof Uint8Array ? bytesToHex(value) : value)
    return this.#numberOf(`${next} ${JSON.stringify({ ...readRecord(flash, this.#layout), boots: 0 }, plain)}`)
  }

  /** What the frames of a pair are, and which area the next record goes to. */
  #framesOf(flash: FlashNor, { areas, areaBytes }: PairRegion): string {
    const [a, b] = areas.map((offset) => this.#frameOf(flash, offset, areaBytes))
    // Frames are looked at again only where there is a choice between two.
    const [first, second] = areas.map((offset) =>
      a === 0 || b === 0 ? undefined : readFrame(flash, offset, areaBytes),
    )
    return `${a} ${b} ${first === undefined || second === undefined ? '' : first.seq > second.seq}`
  }

  /** How far a download has come, and which area the next record goes to; the numbers of the frames make no difference. */
  #progressOf(flash: FlashNor): number {
    const { areas, areaBytes } = this.#layout.progress
    const [a, b] = areas.map((offset) => this.#newestOf(flash, offset, areaBytes))
    const newer = a !== undefined && b !== undefined ? a.seq > b.seq : a !== undefined
    return this.#numberOf(`progress ${a?.content} ${b?.content} ${newer}`)
  }

  /** Number and content of a frame that is read through it alone. */
  #newestOf(
    flash: FlashNor,
    offset: number,
    bytes: number,
  ): { readonly seq: number; readonly content: string } | undefined {
    const place = this.#placeOf(flash, offset, bytes)
    const known = this.#progress.get(place)
    if (known !== undefined) return known ?? undefined
    const frame = readFrame(flash, offset, bytes, (data) => createHash('sha256').update(data).digest())
    const found = frame && { seq: frame.seq, content: createHash('sha256').update(frame.payload).digest('base64') }
    this.#progress.set(place, found ?? null)
    return found
  }

  /** Names the content of a range of whole sectors. */
  #placeOf(flash: FlashNor, offset: number, bytes: number): string {
    let place = `${offset}:`
    for (let at = offset; at < offset + bytes; at += flash.sectorBytes) {
      place += `${this.#contentOf(flash.sector(at / flash.sectorBytes))},`
    }
    return place
  }

  /** A number for each different frame; 0 for none. */
  #frameOf(flash: FlashNor, offset: number, bytes: number): number {
    const place = this.#placeOf(flash, offset, bytes)
    const known = this.#frames.get(place)
    if (known !== undefined) return known
    const frame = readFrame(flash, offset, bytes)
    let number = 0
    if (frame !== undefined) {
      const { seq, payload } = frame
      const text = `${seq} ${createHash('sha256').update(payload).digest('base64')}`
      number = this.#numberOf(this.#countsMatter ? text : `${payload.length} bytes`)
    }
    this.#frames.set(place, number)
    return number
  }

  #numberOf(text: string): number {
    const number = this.#numbers.get(text) ?? this.#numbers.size + 1
    this.#numbers.set(text, number)
    return number
  }
}
