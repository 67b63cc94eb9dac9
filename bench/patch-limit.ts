import { sha256 } from '../contract/bytes.ts'
import { PatchDecoder } from '../contract/patch/patch-decoder.ts'
import { ok } from '../contract/result.ts'
import type { FixedElementType } from '../model/element-type.ts'
import type { MappedTensor } from '../model/mapped-tensor.ts'
import { readTensorMap } from '../model/tensor-map.ts'

/** What of a patch was spent on int8 tensors that both files have, and what an ideal coder that sees only how often each difference
 *  occurs would have spent. */
export interface ResidualLimit {
  readonly tensors: number
  readonly weights: number
  /** share of them that differ */
  readonly changedShare: number
  /** order-0 entropy of new minus old, tensor by tensor, without what it takes to say how often each difference occurs; bytes */
  readonly entropyBytes: number
  /** bytes of the patch between the first and the last number of those tensors */
  readonly spentBytes: number
  /** the rest of the patch: everything that is no such tensor */
  readonly sideBytes: number
}

const INT8: readonly FixedElementType[] = ['int8', 'uint8']
const FLOATS: readonly FixedElementType[] = ['float16', 'bfloat16', 'float32']

/** What most of the bytes in a model's tensors are. */
export type NumberKindOfModel = 'int8' | 'float' | 'other'

export function numbersOf(file: Uint8Array): NumberKindOfModel {
  const bytes = { int8: 0, float: 0, other: 0 }
  for (const { elementType, range } of tensorsOf(file)) {
    bytes[INT8.includes(elementType) ? 'int8' : FLOATS.includes(elementType) ? 'float' : 'other'] += range.length
  }
  const [most] = Object.entries(bytes).sort((a, b) => b[1] - a[1])
  return most![1] === 0 ? 'other' : (most![0] as NumberKindOfModel)
}

/** @returns null when no int8 tensor of the new file has one of the same name and size in the old one */
export function residualLimit(oldFile: Uint8Array, newFile: Uint8Array, patch: Uint8Array): ResidualLimit | null {
  const olds = new Map(tensorsOf(oldFile).map((tensor) => [tensor.name, tensor]))
  const consumed = consumption(oldFile, newFile.length, patch)
  let [tensors, weights, changed, entropyBytes, spentBytes] = [0, 0, 0, 0, 0]
  for (const { name, elementType, range } of tensorsOf(newFile)) {
    const old = olds.get(name)
    if (!INT8.includes(elementType) || old?.elementType !== elementType || old.range.length !== range.length) continue
    const counts = new Uint32Array(256)
    for (let i = 0; i < range.length; i++) {
      counts[(newFile[range.offset + i]! - oldFile[old.range.offset + i]!) & 0xff]!++
    }
    tensors++
    weights += range.length
    changed += range.length - counts[0]!
    entropyBytes += entropyBits(counts) / 8
    spentBytes += consumed(range.offset + range.length) - consumed(range.offset)
  }
  if (tensors === 0) return null
  const sideBytes = patch.length - spentBytes
  return { tensors, weights, changedShare: changed / weights, entropyBytes, spentBytes, sideBytes }
}

const tensorsOf = (file: Uint8Array): readonly MappedTensor[] => {
  const map = readTensorMap(file)
  return map.ok ? map.value.tensors : []
}

function entropyBits(counts: Uint32Array): number {
  const total = counts.reduce((sum, count) => sum + count, 0)
  return counts.reduce((bits, count) => (count === 0 ? bits : bits - count * Math.log2(count / total)), 0)
}

/** Feeds a decoder byte by byte and watches how far it comes.
 *  @returns bytes of the patch that had to be there for so many bytes of the result, up to a constant: the decoder waits until a whole
 *    step's bytes have come. To about a byte. */
function consumption(oldFile: Uint8Array, resultBytes: number, patch: Uint8Array): (produced: number) => number {
  const result = new Uint8Array(resultBytes)
  const decoder = new PatchDecoder(
    { pageBytes: 4_096, maxResultBytes: resultBytes, base: { bytes: oldFile.length, sha256: sha256(oldFile) } },
    {
      readBase: (offset, part) => part.set(oldFile.subarray(offset, offset + part.length)),
      readResult: (offset, part) => part.set(result.subarray(offset, offset + part.length)),
      writePage: (offset, page) => {
        result.set(page, offset)
        return ok(undefined)
      },
    },
  )
  const needed = new Uint32Array(resultBytes + 1)
  const one = new Uint8Array(1)
  // The zeros behind the end stand for the bytes that the last steps wait for; when all is made the decoder refuses them.
  for (let at = 0, from = 1; from <= resultBytes; at++) {
    one[0] = patch[at] ?? 0
    const pushed = decoder.push(one, false)
    const produced = decoder.producedBytes
    needed.fill(at + 1, from, produced + 1)
    from = produced + 1
    if (!pushed.ok && from <= resultBytes) throw new Error(`${pushed.error.code}: ${pushed.error.detail}`)
  }
  return (produced) => needed[produced]!
}
