import { sha256 } from '../../contract/bytes.ts'
import { encodePatchHeader, type PatchImage, type PatchMethod, sha256Half } from '../../contract/patch/patch-header.ts'
import { PATCH_BITS } from '../../contract/patch/patch-layout.ts'
import { bytesOfNumber } from '../../contract/patch/patch-numbers.ts'
import type { MappedTensor } from '../../model/mapped-tensor.ts'
import { readTensorMap } from '../../model/tensor-map.ts'
import { BytePlanner, type Stretch } from './byte-plan.ts'
import { BytePrices } from './byte-prices.ts'
import { NumberPlanner } from './number-plan.ts'
import { type Copy, PatchWriter, type PlacedRun } from './patch-writer.ts'
import { BitCounter, RangeEncoder } from './range-encoder.ts'

/** How far the making of a patch is, 0 to 1. */
export type PatchProgress = (share: number) => void

const imageOf = (bytes: Uint8Array): PatchImage => ({ bytes: bytes.length, sha256Half: sha256Half(sha256(bytes)) })

/** Makes the patch that turns `base` into `result`; with no base a compact full image. Never larger than the result and a header.
 *  @param base null for none
 */
export function makePatch(
  base: Uint8Array | null,
  result: Uint8Array,
  onProgress: PatchProgress = () => undefined,
): Uint8Array {
  const withBase = base === null ? null : framed('coded', base, result, payloadOf(base, result, onProgress))
  if (withBase !== null && withBase.length < 256) return withBase
  const alone = framed('coded', null, result, payloadOf(new Uint8Array(0), result, onProgress))
  const stored = framed('stored', null, result, result)
  return [withBase, alone, stored].reduce<Uint8Array>(
    (least, patch) => (patch !== null && patch.length < least.length ? patch : least),
    stored,
  )
}

function framed(method: PatchMethod, base: Uint8Array | null, result: Uint8Array, payload: Uint8Array): Uint8Array {
  const header = encodePatchHeader({ method, base: base && imageOf(base), result: imageOf(result) })
  const patch = new Uint8Array(header.length + payload.length)
  patch.set(header)
  patch.set(payload, header.length)
  return patch
}

/** Chosen: passes over the bytes; each learns its prices from the one before. */
const PASSES = 3

function payloadOf(base: Uint8Array, result: Uint8Array, onProgress: PatchProgress): Uint8Array {
  const space = new Uint8Array(base.length + result.length)
  space.set(base)
  space.set(result, base.length)
  const tensorsOf = (file: Uint8Array): readonly MappedTensor[] => {
    const map = readTensorMap(file)
    return map.ok ? map.value.tensors : []
  }
  const planner = new BytePlanner(space, base.length)
  const whole = [{ from: 0, end: result.length }]
  let literalBits = orderZeroBits(result)
  let prices = new BytePrices(new BitCounter(PATCH_BITS))
  const first = planner.plan(whole, prices, literalBits)
  onProgress(0.4)
  const numbers = new NumberPlanner(space, base.length, tensorsOf(base))
  const runs = numbers.plan(tensorsOf(result), first.bits, (at) => onProgress(0.4 + (0.4 * at) / result.length))
  const stretches = between(runs, result.length)
  let copies = planner.plan(stretches, prices, literalBits).copies
  for (let pass = 1; pass < PASSES; pass++) {
    const counter = new BitCounter(PATCH_BITS)
    literalBits = write(counter, space, base.length, stretches, copies, runs, literalBits)
    prices = new BytePrices(counter)
    copies = planner.plan(stretches, prices, literalBits).copies
    onProgress(0.8 + (0.2 * pass) / PASSES)
  }
  const encoder = new RangeEncoder(PATCH_BITS)
  write(encoder, space, base.length, stretches, copies, runs, literalBits)
  return encoder.finish()
}

/** @returns what each byte took as a literal, bits; where it was none, what was thought before */
function write(
  coder: BitCounter | RangeEncoder,
  space: Uint8Array,
  baseBytes: number,
  stretches: readonly Stretch[],
  copies: readonly Copy[][],
  runs: readonly PlacedRun[],
  literalBits: Float32Array,
): Float32Array {
  const writer = new PatchWriter(coder, space, baseBytes)
  const taken = literalBits.slice()
  for (const [i, { from, end }] of stretches.entries()) {
    writer.stretch(
      from,
      end,
      copies[i]!,
      coder instanceof BitCounter
        ? (at, bits) => {
            taken[at] = bits
          }
        : undefined,
    )
    const run = runs[i]
    if (run !== undefined) writer.run(run)
  }
  return taken
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

/** What each byte takes by the frequencies around it, at its place in a word of four. */
function orderZeroBits(bytes: Uint8Array): Float32Array {
  const bits = new Float32Array(bytes.length)
  const block = 4_096
  for (let from = 0; from < bytes.length; from += block) {
    const end = Math.min(bytes.length, from + block)
    const counts = new Uint32Array(4 * 256)
    for (let at = from; at < end; at++) counts[(at & 3) * 256 + bytes[at]!]!++
    const total = (end - from) / 4
    for (let at = from; at < end; at++) {
      bits[at] = -Math.log2((counts[(at & 3) * 256 + bytes[at]!]! + 0.3) / (total + 24))
    }
  }
  return bits
}
