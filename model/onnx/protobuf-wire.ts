import { OnnxFault } from './onnx-fault.ts'

const WIRE_VARINT = 0
const WIRE_FIXED64 = 1
const WIRE_BYTES = 2
const WIRE_FIXED32 = 5

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Walks the fields of one protobuf message, strictly: every varint minimal and at most 64 bits, every length inside the
 *  enclosing message, every field of the expected wire type, singular fields at most once. A lenient reader would accept
 *  a file in which another runtime sees other weights (protobuf takes the last of two), so leniency is a hole here.
 *  @see https://protobuf.dev/programming-guides/encoding/
 */
export class WireReader {
  readonly file: Uint8Array
  readonly message: string
  readonly end: number
  position: number
  field = 0
  wire = 0
  /** Byte offset in the file where the current field's tag begins. */
  fieldOffset = 0
  /** Halves of the last varint: unsigned 32 bits each. */
  #low = 0
  #high = 0
  #seen = 0

  constructor(file: Uint8Array, message: string, start: number, end: number) {
    this.file = file
    this.message = message
    this.position = start
    this.end = end
  }

  /** Moves to the next field. @returns false at the end of the message */
  next(): boolean {
    if (this.position === this.end) return false
    this.fieldOffset = this.position
    this.#varint()
    if (this.#high !== 0) this.malformed('tag is larger than 32 bits')
    this.field = this.#low >>> 3
    this.wire = this.#low & 7
    if (this.field === 0) this.malformed('field number 0')
    return true
  }

  malformed(what: string): never {
    throw new OnnxFault('onnx-malformed', `${what} in ${this.#where()}`)
  }

  tooLarge(what: string): never {
    throw new OnnxFault('onnx-too-large', `${what} in ${this.#where()}`)
  }

  #where(): string {
    return `${this.message} field ${this.field} at byte ${this.fieldOffset}`
  }

  /** Declares the current field singular (field numbers below 32 only, which is all that is read). */
  once(): void {
    const bit = 1 << this.field
    if (this.#seen & bit) this.malformed('singular field repeated')
    this.#seen |= bit
  }

  /** Skips the current field, whatever it is. Groups, which proto3 and ONNX never had, are refused. */
  skip(): void {
    if (this.wire === WIRE_VARINT) this.#varint()
    else if (this.wire === WIRE_FIXED64) this.#take(8)
    else if (this.wire === WIRE_BYTES) this.#take(this.#length())
    else if (this.wire === WIRE_FIXED32) this.#take(4)
    else this.malformed(`wire type ${this.wire}`)
  }

  /** An int64, rounded to the nearest double beyond 2^53. */
  int64(): number {
    this.#expect(WIRE_VARINT)
    return this.#int64()
  }

  /** An int64 that must be an exact double. */
  safeInt(): number {
    const value = this.int64()
    if (!Number.isSafeInteger(value)) this.malformed(`integer ${value} out of range`)
    return value
  }

  float32(): number {
    this.#expect(WIRE_FIXED32)
    const at = this.#take(4)
    return this.#view(at, 4).getFloat32(0, true)
  }

  /** The bytes of a length-delimited field, as a view into the file. */
  bytes(): Uint8Array {
    this.#expect(WIRE_BYTES)
    const length = this.#length()
    const at = this.#take(length)
    return this.file.subarray(at, at + length)
  }

  string(bytesMax: number): string {
    const bytes = this.bytes()
    if (bytes.length > bytesMax) this.tooLarge(`string of ${bytes.length} bytes, at most ${bytesMax}`)
    try {
      return utf8.decode(bytes)
    } catch {
      return this.malformed('string is not UTF-8')
    }
  }

  sub(message: string): WireReader {
    this.#expect(WIRE_BYTES)
    const length = this.#length()
    const at = this.#take(length)
    return new WireReader(this.file, message, at, at + length)
  }

  /** Appends the values of a repeated int64 field, packed or not. */
  int64s(into: number[], max: number): void {
    if (this.wire === WIRE_VARINT) {
      this.#append(into, this.#int64(), max)
      return
    }
    const packed = this.sub(this.message)
    packed.field = this.field
    packed.fieldOffset = this.fieldOffset
    while (packed.position < packed.end) packed.#append(into, packed.#int64(), max)
  }

  /** Appends the values of a repeated 64-bit varint field as exact signed integers, packed or not. */
  bigInts(into: bigint[], max: number): void {
    const packed = this.wire === WIRE_VARINT ? this : this.sub(this.message)
    packed.field = this.field
    packed.fieldOffset = this.fieldOffset
    do {
      if (packed !== this && packed.position === packed.end) return
      packed.#varint()
      packed.#append(into, BigInt.asIntN(64, (BigInt(packed.#high) << 32n) | BigInt(packed.#low)), max)
    } while (packed !== this)
  }

  /** Appends the values of a repeated float field, packed or not. */
  float32s(into: number[], max: number): void {
    if (this.wire === WIRE_FIXED32) {
      this.#append(into, this.float32(), max)
      return
    }
    const bytes = this.bytes()
    if (bytes.length % 4 !== 0) this.malformed(`packed floats of ${bytes.length} bytes`)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    for (let at = 0; at < bytes.length; at += 4) this.#append(into, view.getFloat32(at, true), max)
  }

  #append<T>(into: T[], value: T, max: number): void {
    if (into.length >= max) this.tooLarge(`more than ${max} values`)
    into.push(value)
  }

  #expect(wire: number): void {
    if (this.wire !== wire) this.malformed(`wire type ${this.wire}, expected ${wire}`)
  }

  #view(at: number, length: number): DataView {
    return new DataView(this.file.buffer, this.file.byteOffset + at, length)
  }

  #take(length: number): number {
    const at = this.position
    if (length > this.end - at) this.malformed(`${length} bytes wanted, ${this.end - at} left`)
    this.position = at + length
    return at
  }

  #length(): number {
    this.#varint()
    if (this.#high !== 0) this.malformed('length is larger than 32 bits')
    return this.#low
  }

  #int64(): number {
    this.#varint()
    return (this.#high | 0) * 2 ** 32 + this.#low
  }

  #varint(): void {
    let low = 0
    let high = 0
    for (let index = 0; index < 10; index++) {
      const byte = this.file[this.position]
      if (byte === undefined || this.position >= this.end) this.malformed('truncated varint')
      this.position++
      const bits = byte & 0x7f
      if (index < 4) low |= bits << (7 * index)
      else if (index === 4) {
        low |= bits << 28
        high = bits >>> 4
      } else high |= bits << (7 * index - 32)
      if (byte < 0x80) {
        if (byte === 0 && index > 0) this.malformed('overlong varint')
        if (index === 9 && byte > 1) this.malformed('varint larger than 64 bits')
        this.#low = low >>> 0
        this.#high = high >>> 0
        return
      }
    }
    this.malformed('varint longer than ten bytes')
  }
}
