import type { ByteRange } from '../element-type.ts'
import { TfliteFault } from './tflite-fault.ts'

// Names only label tensors: one that is not UTF-8 is read with replacement characters rather than costing the file.
const utf8 = new TextDecoder('utf-8')

/** A FlatBuffer under strict bounds: every table, vtable, vector and string lies inside the file, whatever the alignment, and
 *  all that is visited is charged to a budget. Without it a small file whose vectors point at one table again and again would
 *  cost the product of their lengths. Overlapping parts do no harm: nothing is written and every visit is paid for.
 *  @see https://flatbuffers.dev/internals/
 */
export class FlatbufferFile {
  readonly bytes: Uint8Array
  readonly view: DataView
  #budget: number

  /** @param budget bytes of tables, lists and strings that may be visited */
  constructor(bytes: Uint8Array, budget: number) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#budget = budget
  }

  /** The root table, whose offset is the file's first word. */
  root(name: string, chargedBytes: number): FlatTable {
    this.expect(0, 4, name)
    return new FlatTable(this, this.target(0, name), name, chargedBytes)
  }

  /** Follows the unsigned offset stored at `at`, four bytes that are known to be in the file. Where it leads is not. */
  target(at: number, where: string): number {
    const offset = this.view.getUint32(at, true)
    if (offset === 0) this.malformed(`null offset at byte ${at} in ${where}`)
    return at + offset
  }

  expect(at: number, length: number, where: string): void {
    if (at < 0 || at + length > this.bytes.length) {
      this.malformed(`${length} bytes at ${at} in ${where}, the file has ${this.bytes.length}`)
    }
  }

  charge(bytes: number, where: string): void {
    this.#budget -= bytes
    if (this.#budget < 0)
      throw new TfliteFault('tflite-too-large', `${where}: too much is read for a file of this size`)
  }

  malformed(what: string): never {
    throw new TfliteFault('tflite-malformed', what)
  }
}

/** One table. Fields are numbered as in the schema, from 0, a union taking two numbers; an absent one gives its default. */
export class FlatTable {
  readonly #file: FlatbufferFile
  readonly #position: number
  readonly #bytes: number
  readonly #vtable: number
  readonly #vtableBytes: number
  readonly name: string

  constructor(file: FlatbufferFile, position: number, name: string, chargedBytes: number) {
    file.charge(chargedBytes, name)
    file.expect(position, 4, name)
    const vtable = position - file.view.getInt32(position, true)
    file.expect(vtable, 4, `vtable of ${name}`)
    this.#vtableBytes = file.view.getUint16(vtable, true)
    this.#bytes = file.view.getUint16(vtable + 2, true)
    if (this.#vtableBytes < 4 || this.#vtableBytes % 2 !== 0 || this.#bytes < 4) {
      file.malformed(`vtable of ${this.#vtableBytes} bytes for a table of ${this.#bytes} in ${name}`)
    }
    file.expect(vtable, this.#vtableBytes, `vtable of ${name}`)
    file.expect(position, this.#bytes, name)
    this.#file = file
    this.#position = position
    this.#vtable = vtable
    this.name = name
  }

  has(field: number): boolean {
    return this.#at(field, 1) !== null
  }

  int8(field: number): number {
    const at = this.#at(field, 1)
    return at === null ? 0 : this.#file.view.getInt8(at)
  }

  uint8(field: number): number {
    return this.int8(field) & 0xff
  }

  int32(field: number): number {
    const at = this.#at(field, 4)
    return at === null ? 0 : this.#file.view.getInt32(at, true)
  }

  uint32(field: number): number {
    return this.int32(field) >>> 0
  }

  float32(field: number): number {
    const at = this.#at(field, 4)
    return at === null ? 0 : this.#file.view.getFloat32(at, true)
  }

  /** Rounded to the nearest double beyond 2^53. */
  uint64(field: number): number {
    const at = this.#at(field, 8)
    return at === null ? 0 : Number(this.#file.view.getBigUint64(at, true))
  }

  table(field: number, name: string, chargedBytes: number): FlatTable | null {
    const at = this.#at(field, 4)
    return at === null ? null : new FlatTable(this.#file, this.#file.target(at, name), name, chargedBytes)
  }

  /** Reads each table of a vector, in order. */
  tables<T>(field: number, name: string, max: number, chargedBytes: number, read: (table: FlatTable) => T): T[] {
    const { offset, length } = this.#vector(field, 4, max, name)
    const out: T[] = []
    for (let at = offset; at < offset + length; at += 4) {
      out.push(read(new FlatTable(this.#file, this.#file.target(at, name), name, chargedBytes)))
    }
    return out
  }

  string(field: number, bytesMax: number): string {
    const { offset, length } = this.#vector(field, 1, bytesMax, 'name')
    return utf8.decode(this.#file.bytes.subarray(offset, offset + length))
  }

  int32s(field: number, max: number): number[] {
    return this.#numbers(field, 4, max, (at) => this.#file.view.getInt32(at, true))
  }

  float32s(field: number, max: number): number[] {
    return this.#numbers(field, 4, max, (at) => this.#file.view.getFloat32(at, true))
  }

  /** Longs, each of which must be an exact double. */
  int64s(field: number, max: number): number[] {
    const { view } = this.#file
    return this.#numbers(field, 8, max, (at) => {
      // In halves: a network has hundreds of zero points, and each would be a BigInt first.
      const value = view.getInt32(at + 4, true) * 2 ** 32 + view.getUint32(at, true)
      return Number.isSafeInteger(value) ? value : this.#file.malformed(`integer ${value} in ${this.name}`)
    })
  }

  /** Where the elements of a vector are; they are not visited and cost nothing.
   *  @param size of one element, in bytes
   *  @returns an empty range for an absent vector */
  range(field: number, size: number): ByteRange {
    const at = this.#at(field, 4)
    if (at === null) return { offset: 0, length: 0 }
    const start = this.#file.target(at, this.name)
    this.#file.expect(start, 4, this.name)
    const length = this.#file.view.getUint32(start, true) * size
    this.#file.expect(start + 4, length, this.name)
    return { offset: start + 4, length }
  }

  #numbers(field: number, size: number, max: number, read: (at: number) => number): number[] {
    const { offset, length } = this.#vector(field, size, max, this.name)
    const out: number[] = []
    for (let at = offset; at < offset + length; at += size) out.push(read(at))
    return out
  }

  /** Bytes of a vector that is going to be read. */
  #vector(field: number, size: number, max: number, what: string): ByteRange {
    const range = this.range(field, size)
    if (range.length > max * size) {
      throw new TfliteFault('tflite-too-large', `${range.length / size} of ${what} in ${this.name}, at most ${max}`)
    }
    this.#file.charge(range.length, this.name)
    return range
  }

  /** Where a field of `size` bytes is; null when it is absent. */
  #at(field: number, size: number): number | null {
    const slot = 4 + 2 * field
    if (slot + 2 > this.#vtableBytes) return null
    const offset = this.#file.view.getUint16(this.#vtable + slot, true)
    if (offset === 0) return null
    if (offset < 4 || offset + size > this.#bytes) {
      this.#file.malformed(`field ${field} at ${offset} of ${this.#bytes} bytes in ${this.name}`)
    }
    return this.#position + offset
  }
}
