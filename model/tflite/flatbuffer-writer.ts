/** Writes a FlatBuffer: a tree of nodes, parents before children, so that all offsets point forward. Only what a TFLite file needs: tables,
 *  vectors and scalars of at most four bytes. @see https://flatbuffers.dev/internals/ */

export type WrittenNode =
  /** Fields by their number in the schema; null is an absent one. */
  | { readonly kind: 'table'; readonly fields: readonly (WrittenNode | WrittenScalar | null)[] }
  | { readonly kind: 'tables'; readonly items: readonly WrittenNode[] }
  /** Elements as they lie in memory; `align` is what the first of them needs. */
  | { readonly kind: 'vector'; readonly count: number; readonly data: Uint8Array; readonly align: number }

/** A field without a node of its own; of a byte the other bits are 0. */
export interface WrittenScalar {
  readonly kind: 'scalar'
  readonly word: number
}

export const int8Field = (value: number): WrittenScalar => ({ kind: 'scalar', word: value & 0xff })
export const int32Field = (value: number): WrittenScalar => ({ kind: 'scalar', word: value | 0 })
export const table = (...fields: readonly (WrittenNode | WrittenScalar | null)[]): WrittenNode => ({
  kind: 'table',
  fields,
})
export const tables = (items: readonly WrittenNode[]): WrittenNode => ({ kind: 'tables', items })
export const byteVector = (data: Uint8Array, align = 1): WrittenNode => ({
  kind: 'vector',
  count: data.length,
  data,
  align,
})

function numberVector(
  values: readonly number[],
  bytes: number,
  write: (view: DataView, at: number, value: number) => void,
): WrittenNode {
  const data = new Uint8Array(bytes * values.length)
  const view = new DataView(data.buffer)
  for (let index = 0; index < values.length; index++) write(view, bytes * index, values[index] ?? 0)
  return { kind: 'vector', count: values.length, data, align: bytes }
}
export const int32Vector = (values: readonly number[]): WrittenNode =>
  numberVector(values, 4, (view, at, value) => view.setInt32(at, value, true))
export const float32Vector = (values: readonly number[]): WrittenNode =>
  numberVector(values, 4, (view, at, value) => view.setFloat32(at, value, true))
/** @param values exact integers */
export const int64Vector = (values: readonly number[]): WrittenNode =>
  numberVector(values, 8, (view, at, value) => {
    view.setInt32(at, value | 0, true)
    view.setInt32(at + 4, Math.floor(value / 2 ** 32), true)
  })
/** A string ends with a zero that its length does not count. */
export const textVector = (text: string): WrittenNode => {
  const bytes = new TextEncoder().encode(text)
  const data = new Uint8Array(bytes.length + 1)
  data.set(bytes)
  return { kind: 'vector', count: bytes.length, data, align: 1 }
}

/** @param identifier four ASCII characters */
export function writeFlatbuffer(root: WrittenNode, identifier: string): Uint8Array {
  const out = new Bytes()
  out.reserve(4)
  out.append(new TextEncoder().encode(identifier))
  const pending: { readonly at: number; readonly node: WrittenNode }[] = [{ at: 0, node: root }]
  // What is appended on the way is written too.
  for (const { at, node } of pending) {
    const position = writeNode(out, node, (place, child) => pending.push({ at: place, node: child }))
    out.setInt32(at, position - at)
  }
  return out.finish()
}

/** @returns where offsets to the node point */
function writeNode(out: Bytes, node: WrittenNode, later: (at: number, child: WrittenNode) => void): number {
  if (node.kind === 'table') return writeTable(out, node.fields, later)
  // The length stands before the elements, which are the ones to be aligned.
  out.align(node.kind === 'vector' ? Math.max(4, node.align) : 4, 4)
  const position = out.reserve(4)
  out.setInt32(position, node.kind === 'vector' ? node.count : node.items.length)
  if (node.kind === 'vector') out.append(node.data)
  else for (const item of node.items) later(out.reserve(4), item)
  return position
}

function writeTable(
  out: Bytes,
  fields: readonly (WrittenNode | WrittenScalar | null)[],
  later: (at: number, child: WrittenNode) => void,
): number {
  out.align(4)
  const vtableBytes = 4 + 2 * fields.length
  const vtable = out.reserve(vtableBytes)
  out.align(4)
  const position = out.reserve(4)
  for (const [number, field] of fields.entries()) {
    if (field === null) continue
    // Every field takes four bytes, so that all are aligned.
    const at = out.reserve(4)
    out.setUint16(vtable + 4 + 2 * number, at - position)
    if (field.kind === 'scalar') out.setInt32(at, field.word)
    else later(at, field)
  }
  out.setUint16(vtable, vtableBytes)
  out.setUint16(vtable + 2, out.length - position)
  out.setInt32(position, position - vtable)
  return position
}

/** Bytes that grow; what is reserved is 0. */
class Bytes {
  #bytes = new Uint8Array(4_096)
  #view = new DataView(this.#bytes.buffer)
  length = 0

  /** @returns where the bytes begin */
  reserve(bytes: number): number {
    const at = this.length
    this.length += bytes
    if (this.length > this.#bytes.length) {
      const larger = new Uint8Array(2 * this.length)
      larger.set(this.#bytes)
      this.#bytes = larger
      this.#view = new DataView(larger.buffer)
    }
    return at
  }

  append(data: Uint8Array): void {
    // Reserving may move the bytes.
    const at = this.reserve(data.length)
    this.#bytes.set(data, at)
  }

  /** Fills up until what follows `before` more bytes is at a multiple. */
  align(to: number, before = 0): void {
    this.reserve((to - ((this.length + before) % to)) % to)
  }

  setUint16(at: number, value: number): void {
    this.#view.setUint16(at, value, true)
  }

  setInt32(at: number, value: number): void {
    this.#view.setInt32(at, value, true)
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.length)
  }
}
