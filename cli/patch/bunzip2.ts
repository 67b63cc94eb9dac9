/** Why a bzip2 stream cannot be read; for people. */
export class Bzip2Error extends Error {
  override readonly name = 'Bzip2Error'
}

const BLOCK_MAGIC = 0x314159265359
const END_MAGIC = 0x177245385090
/** Huffman codes are at most this long, and each covers a group of so many symbols. */
const CODE_BITS_MAX = 20
const GROUP_SYMBOLS = 50
const RUN_A = 0
const RUN_B = 1

/** Bits of a stream, most significant first. */
class Bits {
  readonly #bytes: Uint8Array
  #at = 0
  #held = 0
  #count = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** @param count 0 to 24 */
  take(count: number): number {
    while (this.#count < count) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw new Bzip2Error('the compressed data end too early')
      // Held bits are at most 31: what was taken is shifted out.
      this.#held = ((this.#held << 8) | byte) & 0x7fff_ffff
      this.#count += 8
    }
    this.#count -= count
    return (this.#held >> this.#count) & ((1 << count) - 1)
  }

  take48(): number {
    return this.take(24) * 2 ** 24 + this.take(24)
  }

  take32(): number {
    return this.take(16) * 2 ** 16 + this.take(16)
  }
}

/** Canonical codes of one table: of each length the first code and where its symbols begin. */
interface Codes {
  readonly first: Int32Array
  readonly count: Int32Array
  readonly symbols: Uint16Array
}

function codesOf(lengths: Uint8Array): Codes {
  const count = new Int32Array(CODE_BITS_MAX + 1)
  for (const length of lengths) count[length]!++
  const first = new Int32Array(CODE_BITS_MAX + 2)
  const start = new Int32Array(CODE_BITS_MAX + 2)
  for (let length = 1; length <= CODE_BITS_MAX; length++) {
    first[length + 1] = (first[length]! + count[length]!) << 1
    start[length + 1] = start[length]! + count[length]!
  }
  const symbols = new Uint16Array(lengths.length)
  for (const [symbol, length] of lengths.entries()) symbols[start[length]!++] = symbol
  return { first, count, symbols }
}

function symbolOf({ first, count, symbols }: Codes, bits: Bits): number {
  let code = 0
  for (let length = 1, passed = 0; length <= CODE_BITS_MAX; length++) {
    code = (code << 1) | bits.take(1)
    const at = code - first[length]!
    if (at >= 0 && at < count[length]!) return symbols[passed + at]!
    passed += count[length]!
  }
  throw new Bzip2Error('a code that no table has')
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24
  for (let bit = 0; bit < 8; bit++) crc = crc < 0 ? (crc << 1) ^ 0x04c1_1db7 : crc << 1
  return crc
})

/** Decompresses one bzip2 stream; what follows it is not read.
 *  @param maxBytes more are refused before they are made
 *  @throws Bzip2Error for what is damaged, ends too early or makes too much
 *  @see the format as J. Tsai described it, "BZIP2: Format Specification", 2016 */
export function bunzip2(compressed: Uint8Array, maxBytes: number): Uint8Array {
  const bits = new Bits(compressed)
  const out = new Output(maxBytes)
  if (bits.take(16) !== 0x425a || bits.take(8) !== 0x68) throw new Bzip2Error('no bzip2 data')
  const level = bits.take(8) - 0x30
  if (level < 1 || level > 9) throw new Bzip2Error(`no bzip2 data of level ${level}`)
  let total = 0
  for (;;) {
    const magic = bits.take48()
    const crc = bits.take32()
    if (magic === END_MAGIC) {
      if (crc !== total) throw new Bzip2Error('the checksum of all is another one')
      return out.whole()
    }
    if (magic !== BLOCK_MAGIC) throw new Bzip2Error('neither a block nor the end')
    total = (((total << 1) | (total >>> 31)) ^ crc) >>> 0
    if (bits.take(1) !== 0) throw new Bzip2Error('randomised blocks of bzip2 0.9 are not read')
    const origin = bits.take(24)
    out.block(sorted(bits, level * 100_000), origin, crc)
  }
}

/** Last column of the sorted rotations of a block. */
function sorted(bits: Bits, maxLength: number): Uint8Array {
  const groups = bits.take(16)
  const symbols: number[] = []
  for (let group = 0; group < 16; group++) {
    if (((groups >> (15 - group)) & 1) === 0) continue
    const some = bits.take(16)
    for (let i = 0; i < 16; i++) if (((some >> (15 - i)) & 1) !== 0) symbols.push(16 * group + i)
  }
  const used = Uint8Array.from(symbols)
  if (used.length === 0) throw new Bzip2Error('a block without symbols')
  const tableCount = bits.take(3)
  const selectorCount = bits.take(15)
  if (tableCount < 2 || tableCount > 6 || selectorCount === 0) throw new Bzip2Error('a block without tables')
  const recent = Uint8Array.from({ length: tableCount }, (_, i) => i)
  const selectors = Uint8Array.from({ length: selectorCount }, () => {
    let at = 0
    while (bits.take(1) === 1) if (++at >= tableCount) throw new Bzip2Error('a table that there is not')
    return moveToFront(recent, at)
  })
  const symbolCount = used.length + 2
  const tables = Array.from({ length: tableCount }, () => {
    let length = bits.take(5)
    return codesOf(
      Uint8Array.from({ length: symbolCount }, () => {
        while (bits.take(1) === 1) length += bits.take(1) === 0 ? 1 : -1
        if (length < 1 || length > CODE_BITS_MAX) throw new Bzip2Error(`a code of ${length} bits`)
        return length
      }),
    )
  })
  const column = new Uint8Array(maxLength)
  let length = 0
  const append = (byte: number, count: number): void => {
    if (count > maxLength - length) throw new Bzip2Error('a block larger than its level')
    column.fill(byte, length, length + count)
    length += count
  }
  let run = 0
  let weight = 1
  for (let at = 0; ; at++) {
    const table = tables[selectors[Math.floor(at / GROUP_SYMBOLS)] ?? tableCount]
    if (table === undefined) throw new Bzip2Error('more symbols than tables are named for')
    const symbol = symbolOf(table, bits)
    if (symbol === RUN_A || symbol === RUN_B) {
      run += weight * (symbol + 1)
      weight *= 2
      if (run > maxLength) throw new Bzip2Error('a block larger than its level')
      continue
    }
    if (run > 0) append(used[0]!, run)
    run = 0
    weight = 1
    if (symbol === symbolCount - 1) return column.subarray(0, length)
    append(moveToFront(used, symbol - 1), 1)
  }
}

function moveToFront(list: Uint8Array, at: number): number {
  const value = list[at]
  if (value === undefined) throw new Bzip2Error('a symbol that the block does not use')
  list.copyWithin(1, 0, at)
  list[0] = value
  return value
}

/** What blocks give. */
class Output {
  readonly #maxBytes: number
  #bytes: Uint8Array<ArrayBuffer>
  #length = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
    this.#bytes = new Uint8Array(Math.min(maxBytes, 64 * 1024))
  }

  whole(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }

  /** Undoes the sorting and the runs of four and more. */
  block(column: Uint8Array, origin: number, crc: number): void {
    if (origin >= column.length) throw new Bzip2Error('a block begins outside of itself')
    const starts = new Int32Array(257)
    for (const byte of column) starts[byte + 1]!++
    for (let byte = 0; byte < 256; byte++) starts[byte + 1]! += starts[byte]!
    const next = new Int32Array(column.length)
    for (const [i, byte] of column.entries()) next[starts[byte]!++] = i
    let sum = -1
    let equal = 0
    let last = -1
    const put = (byte: number): void => {
      if (this.#length === this.#bytes.length) this.#grow()
      this.#bytes[this.#length++] = byte
      sum = (sum << 8) ^ CRC_TABLE[((sum >>> 24) ^ byte) & 255]!
    }
    for (let i = 0, at = next[origin]!; i < column.length; i++, at = next[at]!) {
      const byte = column[at]!
      if (equal === 4) {
        for (let repeated = 0; repeated < byte; repeated++) put(last)
        equal = 0
        last = -1
        continue
      }
      equal = byte === last ? equal + 1 : 1
      last = byte
      put(byte)
    }
    if (~sum >>> 0 !== crc) throw new Bzip2Error('the checksum of a block is another one')
  }

  #grow(): void {
    if (this.#length >= this.#maxBytes) throw new Bzip2Error(`more than ${this.#maxBytes} bytes`)
    const larger = new Uint8Array(Math.min(this.#maxBytes, 2 * this.#length))
    larger.set(this.#bytes)
    this.#bytes = larger
  }
}
