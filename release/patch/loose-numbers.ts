import type { FixedElementType } from '../../model/element-type.ts'
import type { MappedTensor } from '../../model/mapped-tensor.ts'

/** Chosen: bytes are looked at in blocks, and a block is loose when its bytes take so many bits each. Text and tables take less. */
const BLOCK = 1_024
const LOOSE_BITS = 5.5
/** Chosen: fewer are soon decoded in any way. */
const BLOCKS_MIN = 4

/** Finds what no tensor map tells: long regions of bytes that take nearly as many bits as they have, as weights in a file of an unknown
 *  format do. Literal by literal they are decoded slowest of all (measured: 1.3 MB/s), as numbers several times as fast.
 *  @param result file that a patch makes
 *  @param mapped its tensors, in order
 *  @param bits what each byte of it takes as bytes
 *  @returns regions as tensors of the type that their bytes look like, in order; none overlaps a mapped one */
export function looseNumbers(
  result: Uint8Array,
  mapped: readonly MappedTensor[],
  bits: Float32Array,
): readonly MappedTensor[] {
  const found: MappedTensor[] = []
  let from = 0
  for (const { offset, length } of [...mapped.map(({ range }) => range), { offset: result.length, length: 0 }]) {
    looseBetween(result, from, offset, bits, found)
    from = offset + length
  }
  return found
}

/** What the numbers of a block look like. */
interface Look {
  readonly elementType: FixedElementType
  readonly width: number
  /** address of every number, modulo the width */
  readonly phase: number
}

function looseBetween(result: Uint8Array, from: number, end: number, bits: Float32Array, found: MappedTensor[]): void {
  let first = from
  let look: Look | undefined
  const close = (last: number): void => {
    if (look !== undefined && last - first >= BLOCKS_MIN * BLOCK) found.push(asTensor(look, first, last))
  }
  for (let at = from; at < end; at += BLOCK) {
    const next = Math.min(at + BLOCK, end)
    let sum = 0
    for (let i = at; i < next; i++) sum += bits[i]!
    const here = sum < LOOSE_BITS * (next - at) ? undefined : lookOf(result.subarray(at, next), at)
    if (isSame(here, look)) continue
    close(at)
    first = at
    look = here
  }
  close(end)
}

const isSame = (a: Look | undefined, b: Look | undefined): boolean =>
  a?.elementType === b?.elementType && a?.phase === b?.phase

/** Floats and int16 show by their highest byte, which varies less than the lowest; what shows nothing is int8. A block in which one list
 *  of numbers ends and another begins looks like the longer part.
 *  @param at address of the block's first byte */
function lookOf(block: Uint8Array, at: number): Look {
  for (const width of [4, 2]) {
    const entropies = Array.from({ length: width }, (_, lane) => laneEntropy(block, width, lane))
    const top = entropies.indexOf(Math.min(...entropies))
    const lowest = (top + 1) % width
    if (entropies[lowest]! - entropies[top]! < LANE_GAP) continue
    // Numbers of two bytes have their highest one in two lanes of four.
    if (width === 4 && entropies[(top + 2) % 4]! - entropies[top]! < LANE_GAP) continue
    const elementType = width === 4 ? 'float32' : shortType(block, top)
    return { elementType, width, phase: (at + lowest) % width }
  }
  return { elementType: 'int8', width: 1, phase: 0 }
}

/** Chosen: bits by which a number's highest byte varies less than its lowest. */
const LANE_GAP = 1

/** Small int16 have a highest byte near 0 or -1, bfloat16 one of a few exponents. */
function shortType(block: Uint8Array, top: number): FixedElementType {
  let small = 0
  let ones = 0
  for (let at = top; at < block.length; at += 2) {
    const byte = block[at]!
    if (byte < 0x18 || byte >= 0xe8) small++
    if ((byte & 0x78) === 0x38) ones++
  }
  const half = block.length / 4
  return small > half ? 'int16' : ones > half ? 'bfloat16' : 'float16'
}

function asTensor({ elementType, width, phase }: Look, from: number, end: number): MappedTensor {
  const offset = from + ((((phase - from) % width) + width) % width)
  const count = Math.floor((end - offset) / width)
  const range = { offset, length: count * width }
  return {
    name: `bytes ${offset}`,
    elementType,
    shape: [count],
    range,
    quantization: null,
    role: 'other',
    outputAxis: null,
  }
}

/** Order-0 entropy of every `width`-th byte, bits. */
function laneEntropy(bytes: Uint8Array, width: number, lane: number): number {
  const counts = new Uint32Array(256)
  let total = 0
  for (let at = lane; at < bytes.length; at += width) {
    counts[bytes[at]!]!++
    total++
  }
  let bits = 0
  for (const count of counts) if (count > 0) bits -= count * Math.log2(count / total)
  return bits / total
}
