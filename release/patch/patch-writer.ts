import type { BitCoder } from '../../contract/patch/bit-coder.ts'
import { bytesOfNumber, type NumberRun } from '../../contract/patch/number-run.ts'
import { ByteCoder, type CopyKind } from '../../contract/patch/patch-bytes.ts'
import type { PatchVersion } from '../../contract/patch/patch-header.ts'
import type { ChannelPlan } from '../../contract/patch/patch-integers.ts'
import { BYTES_AT, NUMBERS_AT, STRETCH_AT } from '../../contract/patch/patch-layout.ts'
import { NumberCoder } from '../../contract/patch/patch-numbers.ts'
import { BitCounter } from './range-encoder.ts'

/** A copy within a stretch of bytes; what no copy covers is literals. */
export interface Copy {
  /** first byte of it in the result */
  readonly at: number
  readonly length: number
  readonly from: CopyKind
  /** how far its source lies below its target, addresses counted base before result */
  readonly shift: number
}

/** A run of numbers and where it stands in the result. */
export interface PlacedRun {
  readonly at: number
  readonly run: NumberRun
  /** int8 with a source and channels: how each channel is predicted */
  readonly channels: readonly ChannelPlan[]
}

/** Told of a literal: its address in the result, what it took in bits, whether it was the byte that a copy with the last shift would give. */
type OnLiteral = (at: number, bits: number, isExpected: boolean) => void

/** Writes the payload of a patch into a coder, in the order in which PatchDecoder reads it. */
export class PatchWriter {
  readonly bytes: ByteCoder
  readonly numbers: NumberCoder
  readonly #coder: BitCoder
  /** base and result, one behind the other */
  readonly #space: Uint8Array
  readonly #baseBytes: number
  readonly #byteAt = (address: number): number => this.#space[address]!

  constructor(coder: BitCoder, space: Uint8Array, baseBytes: number, version: PatchVersion, slots: number) {
    this.#coder = coder
    this.#space = space
    this.#baseBytes = baseBytes
    this.bytes = new ByteCoder(coder, BYTES_AT, version, slots)
    this.numbers = new NumberCoder(coder, NUMBERS_AT)
    this.bytes.shifts[0] = baseBytes
  }

  /** @param onLiteral told of every literal and what it took, by a coder that counts */
  stretch(from: number, end: number, copies: readonly Copy[], onLiteral?: OnLiteral): void {
    this.#coder.uint(STRETCH_AT, end - from)
    let at = from
    for (const copy of copies) {
      for (; at < copy.at; at++) this.#literal(at, onLiteral)
      this.bytes.isCopy(at, true)
      this.bytes.copy(this.#baseBytes + at, this.#baseBytes, copy)
      at += copy.length
    }
    for (; at < end; at++) this.#literal(at, onLiteral)
  }

  #literal(at: number, onLiteral?: OnLiteral): void {
    const { bytes } = this
    const space = this.#space
    const target = this.#baseBytes + at
    bytes.isCopy(at, false)
    let recent = 0
    for (let i = Math.min(4, at); i > 0; i--) recent = ((recent << 8) | space[target - i]!) >>> 0
    const before = onLiteral === undefined ? 0 : this.#spent()
    bytes.literal(at, target, recent, this.#byteAt, space[target]!)
    if (onLiteral === undefined) return
    const shift = bytes.shifts[0]!
    onLiteral(at, this.#spent() - before, shift > 0 && shift <= target && space[target - shift] === space[target])
  }

  run({ at, run, channels }: PlacedRun): void {
    const { numbers } = this
    numbers.begin({ base: this.bytes.baseEnd, result: at }, run)
    const width = bytesOfNumber(run.kind)
    if (run.source === 'base') this.bytes.baseEnd = run.offset + run.count * width
    const from = run.offset + (run.source === 'result' ? this.#baseBytes : 0)
    for (let i = 0; i < run.count; i++) {
      const predicting = run.source === 'none' ? 0 : this.#number(from + i * width, width)
      const plan = run.channel > 0 ? channels[Math.floor(i / run.channel)] : undefined
      numbers.number(predicting, this.#number(this.#baseBytes + at + i * width, width), plan)
    }
  }

  #spent(): number {
    return this.#coder instanceof BitCounter ? this.#coder.bits : 0
  }

  #number(address: number, width: number): number {
    let value = 0
    for (let i = width - 1; i >= 0; i--) value = value * 256 + this.#space[address + i]!
    return value
  }
}
