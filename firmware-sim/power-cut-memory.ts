import { createHash } from 'node:crypto'
import { readFrame } from '../device/core/flash-frame.ts'
import type { FlashLayout } from '../device/core/flash-layout.ts'
import type { FlashNor } from './flash-nor.ts'

/** Which flash contents a story has been carried to its end from. Power has taken the RAM, clock and gateway begin alike, so what
 *  follows is a function of the flash sectors that the device reads before it erases them. Two contents that agree there
 *  have one and the same future, and it is lived once. Boot record and spool are read through their frames only, so there
 *  a torn frame is like any other torn frame. */
export class CutMemory {
  readonly #layout: FlashLayout
  readonly #known = new Map<string, Map<string, number>>()
  readonly #hashes = new WeakMap<Uint8Array, string>()

  constructor(layout: FlashLayout) {
    this.#layout = layout
  }

  /** @returns the number of the story whose content was equal in all that it read; undefined: none was */
  find(flash: FlashNor): number | undefined {
    for (const [shape, stories] of this.#known) {
      const story = stories.get(this.#digest(flash, shape === '' ? [] : shape.split(',').map(Number)))
      if (story !== undefined) return story
    }
    return undefined
  }

  /** @param before the content that the story began with
   *  @param watched the sectors that it read
   *  @param story its number */
  add(before: FlashNor, watched: readonly number[], story: number): void {
    const sectors = watched.filter((index) => !this.#isFramed(index * before.sectorBytes))
    const shape = sectors.join(',')
    const stories = this.#known.get(shape) ?? new Map<string, number>()
    this.#known.set(shape, stories)
    stories.set(this.#digest(before, sectors), story)
  }

  #digest(flash: FlashNor, sectors: readonly number[]): string {
    const { boot, spool } = this.#layout
    const image = flash.image()
    const parts = sectors.map((index) => this.#hashOf(image.get(index)))
    for (const offset of boot.areas) parts.push(frameText(flash, offset, boot.areaBytes))
    parts.push(frameText(flash, spool.offset, spool.bytes))
    return createHash('sha256').update(parts.join(' ')).digest('base64')
  }

  #isFramed(offset: number): boolean {
    const { boot, spool } = this.#layout
    return (
      boot.areas.some((area) => offset >= area && offset < area + boot.areaBytes) ||
      (offset >= spool.offset && offset < spool.offset + spool.bytes)
    )
  }

  #hashOf(sector: Uint8Array | undefined): string {
    if (sector === undefined) return '-'
    const hash = this.#hashes.get(sector) ?? createHash('sha256').update(sector).digest('base64')
    this.#hashes.set(sector, hash)
    return hash
  }
}

function frameText(flash: FlashNor, offset: number, bytes: number): string {
  const frame = readFrame(flash, offset, bytes)
  return frame === undefined ? '-' : `${frame.seq}:${createHash('sha256').update(frame.payload).digest('base64')}`
}
