import { sha256 } from '../../contract/bytes.ts'
import { bytesOfNumber } from '../../contract/patch/number-run.ts'
import {
  encodePatchHeader,
  type PatchImage,
  type PatchMethod,
  type PatchVersion,
  sha256Half,
} from '../../contract/patch/patch-header.ts'
import { NUMBERS_AT, PATCH_MEMORY } from '../../contract/patch/patch-layout.ts'
import type { MappedTensor } from '../../model/mapped-tensor.ts'
import { readTensorMap } from '../../model/tensor-map.ts'
import { BytePlanner, type LiteralPrices, type Stretch } from './byte-plan.ts'
import { BytePrices } from './byte-prices.ts'
import { looseNumbers } from './loose-numbers.ts'
import { NumberPlanner } from './number-plan.ts'
import { type Copy, PatchWriter, type PlacedRun } from './patch-writer.ts'
import { BitCounter, RangeEncoder } from './range-encoder.ts'

/** How far the making of a patch is, 0 to 1. */
export type PatchProgress = (share: number) => void

const imageOf = (bytes: Uint8Array): PatchImage => ({ bytes: bytes.length, sha256Half: sha256Half(sha256(bytes)) })

export interface PatchOptions {
  readonly onProgress?: PatchProgress
  /** the compact full image of `result`, for who has made it already: what no patch may be larger than */
  readonly full?: Uint8Array
  /** what who applies it reads; devices of before version 2 only the first */
  readonly version?: PatchVersion
}

/** Makes the patch that turns `base` into `result`; with no base a compact full image. Never larger than the result and a header.
 *  @param base null for none */
export function makePatch(
  base: Uint8Array | null,
  result: Uint8Array,
  { onProgress = () => undefined, full, version = 2 }: PatchOptions = {},
): Uint8Array {
  if (base === null) return new PatchMaker(null, result, onProgress).patch(version)
  const share = full === undefined ? 0.5 : 1
  const patch = new PatchMaker(base, result, (done) => onProgress(share * done)).patch(version)
  const rest = (done: number): void => onProgress(share + (1 - share) * done)
  return smaller(patch, full ?? makePatch(null, result, { version, onProgress: rest }))
}

const smaller = (a: Uint8Array, b: Uint8Array): Uint8Array => (b.length < a.length ? b : a)

function framed(
  version: PatchVersion,
  method: PatchMethod,
  base: Uint8Array | null,
  result: Uint8Array,
  payload: Uint8Array,
): Uint8Array {
  const header = encodePatchHeader({ version, method, base: base && imageOf(base), result: imageOf(result) })
  const patch = new Uint8Array(header.length + payload.length)
  patch.set(header)
  patch.set(payload, header.length)
  return patch
}

/** Passes over the bytes; each learns its prices from the one before, and the cheapest is written. Measured (bench/RESULTS.md): in version
 *  1 the first ones think of expected literals as of others, which is right where copies are long, then they learn that those are cheap, as
 *  long as they gain; either way alone is up to 3 % worse on some pairs. In version 2 they are cheap from the beginning. */
const PASSES_APART: Readonly<Record<PatchVersion, number>> = { 1: 3, 2: 1 }
const PASSES_MIN = 6
const PASSES_IDLE = 2
const PASSES_MAX = 10
/** Chosen: of more than this, each pass takes minutes for what the first ones have all but found. */
const PASSES_BYTES_MAX = 1 << 18
const PASSES_LARGE = 3
/** Measured: about so many bytes that a pass only has to find again take as long as one that it goes through. */
const HASHED_BYTES = 16
/** Where the first pass begins: with bytes as expected that cost what others do, or cheap ones. Measured: neither is the better start for
 *  all; the second takes 5 % less in the mean of 18 pairs, and up to 1 % more. */
const STARTS: Readonly<Record<PatchVersion, readonly boolean[]>> = { 1: [false], 2: [false, true] }
/** Chosen: more has one start, the cheap one where there is a choice. */
const STARTS_BYTES_MAX = 1 << 20

/** Plans once what is the same in every version: what of the result is coded as numbers, and how. */
export class PatchMaker {
  readonly #base: Uint8Array | null
  readonly #result: Uint8Array
  readonly #onProgress: PatchProgress
  /** base and result, one behind the other */
  readonly #space: Uint8Array
  readonly #planner: BytePlanner
  readonly #plan: PatchPlan
  /** copies of a plan without numbers, where bytes as expected cost what others do */
  readonly #asBytes: readonly (readonly Copy[])[] | undefined

  /** @param base null for none */
  constructor(base: Uint8Array | null, result: Uint8Array, onProgress: PatchProgress = () => undefined) {
    this.#base = base
    this.#result = result
    this.#onProgress = onProgress
    const baseBytes = base?.length ?? 0
    this.#space = new Uint8Array(baseBytes + result.length)
    if (base !== null) this.#space.set(base)
    this.#space.set(result, baseBytes)
    this.#planner = new BytePlanner(this.#space, baseBytes)
    const mapped = tensorsOf(result)
    const looked = lookedAt(mapped, result.length)
    const bits = new Float32Array(result.length)
    const guess = guessedPrices(result, looked)
    const asBytes = this.#planner.plan(looked, new BytePrices(new BitCounter(NUMBERS_AT)), guess, bits)
    fillBetween(looked, bits)
    onProgress(0.4)
    const numbers = new NumberPlanner(this.#space, baseBytes, base === null ? [] : tensorsOf(base))
    const tensors = [...mapped, ...looseNumbers(result, mapped, bits)].sort(byOffset)
    const runs = numbers.plan(tensors, bits, (at) => onProgress(0.4 + (0.4 * at) / result.length))
    if (runs.length === 0) this.#plan = { method: 'bytes', stretches: [{ from: 0, end: result.length }], runs }
    else this.#plan = { method: 'numbers', stretches: between(runs, result.length), runs }
    if (runs.length === 0 && looked.length === 1) this.#asBytes = asBytes
  }

  /** @returns the patch from the base to the result; without a base never larger than the result and a header */
  patch(version: PatchVersion): Uint8Array {
    const coded = this.#coded(version)
    // Stored bytes are the same in every version: every device reads the first.
    return this.#base === null ? smaller(coded, framed(1, 'stored', null, this.#result, this.#result)) : coded
  }

  #coded(version: PatchVersion): Uint8Array {
    const plan = this.#plan
    const work = bytesOf(plan.stretches) + this.#space.length / HASHED_BYTES
    const most = work > PASSES_BYTES_MAX ? PASSES_LARGE : PASSES_MAX
    const starts = STARTS[version].slice(work > STARTS_BYTES_MAX ? -1 : 0)
    let best: Pass = { bits: Number.POSITIVE_INFINITY, copies: [] }
    for (const [i, isCheap] of starts.entries()) {
      const told = (pass: number): void => this.#onProgress(0.8 + (0.2 * (i + pass / most)) / starts.length)
      const found = this.#passes(version, isCheap, most, told)
      if (found.bits < best.bits) best = found
    }
    const encoder = new RangeEncoder(PATCH_MEMORY[plan.method].bits)
    write(encoder, version, this.#space, this.#space.length - this.#result.length, plan, best.copies)
    return framed(version, plan.method, this.#base, this.#result, encoder.finish())
  }

  #passes(version: PatchVersion, isCheap: boolean, most: number, onPass: (pass: number) => void): Pass {
    const plan = this.#plan
    const baseBytes = this.#space.length - this.#result.length
    const literals = guessedPrices(this.#result, plan.stretches)
    let copies = this.#firstCopies(isCheap, literals)
    let best = { bits: Number.POSITIVE_INFINITY, copies, pass: 0 }
    const apart = PASSES_APART[version]
    for (let pass = 1; ; pass++) {
      const counter = new BitCounter(PATCH_MEMORY[plan.method].bits)
      write(counter, version, this.#space, baseBytes, plan, copies, literals)
      if (counter.bits < best.bits) best = { bits: counter.bits, copies, pass }
      if (pass === most || (pass >= PASSES_MIN && pass - best.pass >= PASSES_IDLE)) return best
      const { other } = literals
      const prices = pass < apart ? { expected: other, other } : literals
      copies = this.#planner.plan(plan.stretches, new BytePrices(counter), prices)
      onPass(pass)
    }
  }

  /** @param isCheap whether bytes as expected are thought to be cheap before anything is known
   *  @param guess what literals take before anything is known; left so, but for those expected */
  #firstCopies(isCheap: boolean, guess: LiteralPrices): readonly (readonly Copy[])[] {
    if (!isCheap && this.#asBytes !== undefined) return this.#asBytes
    const { expected, other } = guess
    if (isCheap) for (const { from, end } of this.#plan.stretches) expected.fill(EXPECTED_BITS, from, end)
    const prices = new BytePrices(new BitCounter(NUMBERS_AT))
    return this.#planner.plan(this.#plan.stretches, prices, { expected: isCheap ? expected : other, other })
  }
}

interface Pass {
  readonly bits: number
  readonly copies: readonly (readonly Copy[])[]
}

const bytesOf = (stretches: readonly Stretch[]): number => stretches.reduce((sum, { from, end }) => sum + end - from, 0)
const byOffset = (a: MappedTensor, b: MappedTensor): number => a.range.offset - b.range.offset

function tensorsOf(file: Uint8Array): readonly MappedTensor[] {
  const map = readTensorMap(file)
  return map.ok ? map.value.tensors : []
}

/** What of the result is coded how; the copies within the stretches are chosen last, and again. */
interface PatchPlan {
  readonly method: 'numbers' | 'bytes'
  readonly stretches: readonly Stretch[]
  readonly runs: readonly PlacedRun[]
}

/** @param literals set to what literals took where there were any; elsewhere those that were expected to what they took around, others left.
 *    Nothing is noted where there are none, as of a coder that does not count */
function write(
  coder: BitCounter | RangeEncoder,
  version: PatchVersion,
  space: Uint8Array,
  baseBytes: number,
  { method, stretches, runs }: PatchPlan,
  copies: readonly (readonly Copy[])[],
  literals?: LiteralPrices,
): void {
  const writer = new PatchWriter(coder, space, baseBytes, version, PATCH_MEMORY[method].slots)
  const time = EXPECTED_TIME[version]
  let mean = EXPECTED_BITS + time
  let done = 0
  const note =
    literals &&
    ((at: number, bits: number, isExpected: boolean): void => {
      if (!isExpected) literals.other[at] = bits
      else {
        literals.expected.fill(mean, done, at)
        literals.expected[at] = bits + time
        done = at + 1
        mean += (bits + time - mean) / EXPECTED_MEMORY
      }
    })
  for (const [i, { from, end }] of stretches.entries()) {
    done = from
    writer.stretch(from, end, copies[i]!, note)
    literals?.expected.fill(mean, done, end)
    const run = runs[i]
    if (run !== undefined) writer.run(run)
  }
}

/** Chosen: of a tensor that is larger, windows are looked at, and what is between two takes what the first does. What is in no run is planned whole
 *  afterwards. */
const TENSOR_BYTES_MAX = 1 << 16
const WINDOW_BYTES = 1 << 13
const WINDOW_STEP = 1 << 16

/** @returns the parts of a file that are planned as bytes to see what is cheaper as numbers: all of it, but of large tensors windows */
function lookedAt(mapped: readonly MappedTensor[], resultBytes: number): Stretch[] {
  const looked: Stretch[] = []
  let from = 0
  for (const { offset, length } of mapped.map(({ range }) => range)) {
    if (length <= TENSOR_BYTES_MAX || offset < from) continue
    for (let at = offset; at < offset + length - WINDOW_BYTES; at += WINDOW_STEP) {
      looked.push({ from, end: at + WINDOW_BYTES })
      from = Math.min(at + WINDOW_STEP, offset + length)
    }
  }
  looked.push({ from, end: resultBytes })
  return looked
}

/** Fills in what was not looked at. */
function fillBetween(looked: readonly Stretch[], bits: Float32Array): void {
  for (const [i, { end }] of looked.entries()) {
    const next = looked[i + 1]?.from ?? end
    if (next <= end) continue
    const window = bits.subarray(end - WINDOW_BYTES, end)
    bits.fill(window.reduce((sum, each) => sum + each, 0) / window.length, end, next)
  }
}

/** The bytes before, between and behind runs; the last stretch is left out when it is empty. */
function between(runs: readonly PlacedRun[], resultBytes: number): Stretch[] {
  const stretches: Stretch[] = []
  let from = 0
  for (const { at, run } of runs) {
    stretches.push({ from, end: at })
    from = at + run.count * bytesOfNumber(run.kind)
  }
  if (from < resultBytes || runs.length === 0) stretches.push({ from, end: resultBytes })
  return stretches
}

/** Measured from 0.4 to 2 on thirteen pairs: what an expected literal is thought to take before any was seen. A higher guess leaves them to copies, and
 *  nothing is learnt. Chosen: over how many the mean goes. */
const EXPECTED_BITS = 1
const EXPECTED_MEMORY = 32
/** What an expected literal is thought to take more than it does, bits: a copy over as many bytes is decoded sooner. Measured in version 2
 *  from 0 to 0.2: a third of the literals, and 0.04 % more bytes. */
const EXPECTED_TIME: Readonly<Record<PatchVersion, number>> = { 1: 0, 2: 0.2 }

/** What each byte takes by the frequencies around it, at its place in a word of four; as much where it is expected.
 *  @param stretches in order; elsewhere nothing is set, so that memory that nobody reads is none */
function guessedPrices(bytes: Uint8Array, stretches: readonly Stretch[]): LiteralPrices {
  const bits = new Float32Array(bytes.length)
  const expected = new Float32Array(bytes.length)
  let done = 0
  for (const { from, end } of stretches) {
    for (let block = Math.max(done, from - (from % GUESS_BLOCK)); block < end; block += GUESS_BLOCK) {
      guessBlock(bytes, block, Math.min(bytes.length, block + GUESS_BLOCK), bits)
      done = block + GUESS_BLOCK
    }
    expected.set(bits.subarray(from, end), from)
  }
  return { expected, other: bits }
}

/** Chosen: over so many bytes frequencies are much the same. */
const GUESS_BLOCK = 4_096

function guessBlock(bytes: Uint8Array, from: number, end: number, bits: Float32Array): void {
  const counts = new Uint32Array(4 * 256)
  for (let at = from; at < end; at++) counts[(at & 3) * 256 + bytes[at]!]!++
  const total = (end - from) / 4
  for (let at = from; at < end; at++) {
    bits[at] = -Math.log2((counts[(at & 3) * 256 + bytes[at]!]! + 0.3) / (total + 24))
  }
}
