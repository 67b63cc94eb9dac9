import type { ByteRange, FixedElementType } from './element-type.ts'

export interface MappedQuantization {
  /** real = scale × (stored − zero point); finite; one for the tensor, or one for each index along `axis`. */
  readonly scales: readonly number[]
  /** As many as scales. */
  readonly zeroPoints: readonly number[]
  /** 0 where there is one scale. */
  readonly axis: number
}

/** What a tensor is to the operator that reads it. A scale or a zero point is a quantization parameter: a tensor in ONNX, a list in
 *  the description of a tensor in TFLite. */
export type TensorRole = 'weight' | 'bias' | 'scale' | 'zero-point' | 'other'

export interface MappedTensor {
  /** Unique in its file: the tensor's own name, after the path of the subgraph and, in a bundle, of the section. */
  readonly name: string
  readonly elementType: FixedElementType
  readonly shape: readonly number[]
  /** Little-endian elements in row-major order; exactly as many bytes as type and shape say. */
  readonly range: ByteRange
  readonly quantization: MappedQuantization | null
  readonly role: TensorRole
  /** The axis of a weight along which the output channels lie; null for other roles and where the graph does not tell. */
  readonly outputAxis: number | null
}

/** A tensor on the way to the map, which its readers fill in. */
export type TensorDraft = { -readonly [K in keyof MappedTensor]: MappedTensor[K] }

const RANKS: readonly TensorRole[] = ['other', 'zero-point', 'scale', 'bias', 'weight']
/** Of several roles that one tensor plays, the one that says most about its numbers. */
export const outranks = (a: TensorRole, b: TensorRole): boolean => RANKS.indexOf(a) > RANKS.indexOf(b)

/** Chosen: paths longer than this name the subgraph by number, so that deep nesting cannot multiply the names of the file. */
const PATH_MAX = 256

/** @returns the path of a subgraph, for the names of its tensors
 *  @param label what the file calls it, unique enough to find it again in another version
 *  @param ordinal its number among all subgraphs of the file */
export function subgraphPath(outer: string, label: string, ordinal: number): string {
  const path = `${outer}${label}/`
  return path.length <= PATH_MAX ? path : `graph#${ordinal}/`
}

/** Joins what a file says of a tensor's quantization, if it makes sense for the tensor.
 *  @param zeroPoints one for each scale, one for all, or none, which means 0
 *  @param axis from the front, or negative from the end
 *  @returns null when numbers and shape do not fit, or are not finite */
export function quantizationOf(
  shape: readonly number[],
  scales: readonly number[],
  zeroPoints: readonly number[],
  axis: number,
): MappedQuantization | null {
  const perTensor = scales.length === 1
  const along = normalAxis(axis, shape.length)
  const channels = perTensor ? 0 : along
  if (channels === null || (!perTensor && shape[channels] !== scales.length)) return null
  const zeros = zeroPoints.length <= 1 ? new Array<number>(scales.length).fill(zeroPoints[0] ?? 0) : zeroPoints
  if (zeros.length !== scales.length || ![...scales, ...zeros].every(Number.isFinite)) return null
  return { scales, zeroPoints: zeros, axis: channels }
}

/** @returns the axis from the front, null when there is none such */
export function normalAxis(axis: number | null, rank: number): number | null {
  if (axis === null) return null
  const front = axis < 0 ? axis + rank : axis
  return Number.isInteger(front) && front >= 0 && front < rank ? front : null
}

/** Makes the map of one file: by offset, without empty tensors, each byte in one tensor at most, each name once.
 *
 *  Formats that share data (TFLite) give one draft for each reader of it: of drafts at one place the longest is kept, and of those
 *  the one whose role says most; a draft that begins inside the one before it is dropped.
 *  @param drafts in the order of the file's own lists, which decides between equals */
export function orderedMap(drafts: readonly TensorDraft[]): MappedTensor[] {
  const sorted = drafts
    .filter(({ range }) => range.length > 0)
    .sort(
      (a, b) =>
        a.range.offset - b.range.offset ||
        b.range.length - a.range.length ||
        RANKS.indexOf(b.role) - RANKS.indexOf(a.role),
    )
  const names = new UniqueNames()
  const tensors: MappedTensor[] = []
  let end = 0
  for (const draft of sorted) {
    if (draft.range.offset < end) continue
    end = draft.range.offset + draft.range.length
    // What is quantized channel by channel is so along its output channels.
    const { quantization } = draft
    const channels = quantization !== null && quantization.scales.length > 1 ? quantization.axis : null
    const outputAxis = draft.role === 'weight' ? (normalAxis(draft.outputAxis, draft.shape.length) ?? channels) : null
    tensors.push({ ...draft, name: names.add(draft.name), outputAxis })
  }
  return tensors
}

/** Gives the second tensor of a name `~2` and so on. */
class UniqueNames {
  readonly #used = new Set<string>()
  readonly #counts = new Map<string, number>()

  add(name: string): string {
    let unique = name
    // A name that looks numbered already is passed over once, so that all names together cost linear time.
    for (let count = this.#counts.get(name) ?? 1; this.#used.has(unique); ) {
      unique = `${name}~${++count}`
      this.#counts.set(name, count)
    }
    this.#used.add(unique)
    return unique
  }
}
