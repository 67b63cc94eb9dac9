/** Writes a FlatBuffer: a tree of nodes, parents before children, so that all offsets point forward. Only what a TFLite file needs: tables,
 *  vectors and scalars of at most four bytes. @see https://flatbuffers.dev/internals/ */

export type WrittenNode =
  /** Fields by their number in the schema; null is an absent one. */
  | { readonly kind: 'table'; readonly fields: readonly (WrittenNode | Uint8Array | null)[] }
  | { readonly kind: 'tables'; readonly items: readonly WrittenNode[] }
  /** Elements as they lie in memory; `align` is what the first of them needs. */
  | { readonly kind: 'vector'; readonly count: number; readonly data: Uint8Array; readonly align: number }

const littleEndian = (bytes: number, write: (view: DataView) => void): Uint8Array => {
  const data = new Uint8Array(bytes)
  write(new DataView(data.buffer))
  return data
}
export const int8Field = (value: number): Uint8Array => Uint8Array.of(value & 0xff)
export const int32Field = (value: number): Uint8Array => littleEndian(4, (view) => view.setInt32(0, value, true))
export const table = (...fields: readonly (WrittenNode | Uint8Array | null)[]): WrittenNode => ({
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
export const int32Vector = (values: readonly number[]): WrittenNode => ({
  ...{ kind: 'vector', count: values.length, align: 4 },
  data: littleEndian(4 * values.length, (view) => {
    for (const [at, value] of values.entries()) view.setInt32(4 * at, value, true)
  }),
})
export const float32Vector = (values: readonly number[]): WrittenNode => ({
  ...{ kind: 'vector', count: values.length, align: 4 },
  data: littleEndian(4 * values.length, (view) => {
    for (const [at, value] of values.entries()) view.setFloat32(4 * at, value, true)
  }),
})
export const int64Vector = (values: readonly number[]): WrittenNode => ({
  ...{ kind: 'vector', count: values.length, align: 8 },
  data: littleEndian(8 * values.length, (view) => {
    for (const [at, value] of values.entries()) view.setBigInt64(8 * at, BigInt(value), true)
  }),
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
  out.append(new Uint8Array(4))
  out.append(new TextEncoder().encode(identifier))
  const pending: { readonly at: number; readonly node: WrittenNode }[] = [{ at: 0, node: root }]
  // What is appended on the way is written too.
  for (const { at, node } of pending) {
    const position = writeNode(out, node, (place, child) => pending.push({ at: place, node: child }))
    out.setUint32(at, position - at)
  }
  return out.finish()
}

/** @returns where offsets to the node point */
function writeNode(out: Bytes, node: WrittenNode, later: (at: number, child: WrittenNode) => void): number {
  if (node.kind === 'table') return writeTable(out, node.fields, later)
  // The length stands before the elements, which are the ones to be aligned.
  out.align(node.kind === 'vector' ? Math.max(4, node.align) : 4, 4)
  const position = out.append(int32Field(node.kind === 'vector' ? node.count : node.items.length))
  if (node.kind === 'vector') out.append(node.data)
  else for (const item of node.items) later(out.append(new Uint8Array(4)), item)
  return position
}

function writeTable(
  out: Bytes,
  fields: readonly (WrittenNode | Uint8Array | null)[],
  later: (at: number, child: WrittenNode) => void,
): number {
  // Every field takes four bytes, so that all are aligned.
  const slots = fields.map(() => 0)
  let end = 4
  for (const [number, field] of fields.entries()) {
    if (field === null) continue
    slots[number] = end
    end += 4
  }
  out.align(4)
  const vtable = out.append(
    littleEndian(4 + 2 * slots.length, (view) => {
      for (const [at, value] of [4 + 2 * slots.length, end, ...slots].entries()) view.setUint16(2 * at, value, true)
    }),
  )
  out.align(4)
  const position = out.append(int32Field(out.length - vtable))
  for (const field of fields) {
    if (field === null) continue
    const at = out.append(new Uint8Array(4))
    if (field instanceof Uint8Array) out.set(at, field)
    else later(at, field)
  }
  return position
}

/** Bytes that grow. */
class Bytes {
  #bytes = new Uint8Array(4_096)
  length = 0

  append(data: Uint8Array): number {
    const at = this.length
    if (at + data.length > this.#bytes.length) {
      const larger = new Uint8Array(2 * (at + data.length))
      larger.set(this.#bytes)
      this.#bytes = larger
    }
    this.#bytes.set(data, at)
    this.length += data.length
    return at
  }

  /** Fills up until what follows `before` more bytes is at a multiple. */
  align(to: number, before = 0): void {
    while ((this.length + before) % to !== 0) this.append(new Uint8Array(1))
  }

  set(at: number, data: Uint8Array): void {
    this.#bytes.set(data, at)
  }

  setUint32(at: number, value: number): void {
    new DataView(this.#bytes.buffer).setUint32(at, value, true)
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.length)
  }
}
