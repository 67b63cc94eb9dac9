import { createHash } from 'node:crypto'

/** A decoder of patches by somebody who had docs/patch.md and the test vectors, and no line of ours: sections, names and order are the page's.
 *  What it makes and ours does not is a fault of one of the two, or of the page.
 *  @param base the old file; empty for none
 *  @returns the new file
 *  @throws Error for what is malformed, truncated or meant for another base */
export function decodeByThePage(base: Uint8Array, patch: Uint8Array): Uint8Array {
  const header = readHeader(base, patch)
  const payload = patch.subarray(header.bytes)
  if (header.method !== STORED && header.resultBytes > 0) return decodePayload(header, base, payload)
  need(payload.length >= header.resultBytes, 'truncated: stored bytes')
  need(payload.length === header.resultBytes, 'bytes left over')
  return payload.slice()
}

function need(ok: boolean, otherwise: string): void {
  if (!ok) throw new Error(otherwise)
}

const clamp = (x: number, least: number, most: number): number => Math.min(Math.max(x, least), most)

// ---- Header

const [STORED, NUMBERS, BYTES] = [0, 1, 2]
type Header = { bytes: number; version: number; method: number; hasBase: boolean; resultBytes: number }

function readHeader(base: Uint8Array, patch: Uint8Array): Header {
  let at = 0
  const next = (): number => {
    need(at < patch.length, 'truncated: header')
    return patch[at++]!
  }
  const size = (): number => {
    let value = 0
    for (let place = 0; ; place++) {
      const byte = next()
      need(place < 4 || byte <= 15, 'malformed: a size above 2^32 - 1')
      need(place === 0 || byte !== 0, 'malformed: a size that is not minimal')
      value += (byte & 127) * 2 ** (7 * place)
      if (byte < 128) return value
    }
  }
  need(next() === 0x4b && next() === 0x50, 'malformed: no patch')
  const version = next()
  need(version === 1 || version === 2, 'malformed: unknown version')
  const flags = next()
  const method = flags & 7
  const hasBase = (flags & 8) !== 0
  need(flags < 16 && method <= BYTES, 'malformed: unknown method')
  const resultBytes = size()
  if (hasBase) {
    need(size() === base.length, 'wrong base: size')
    const sha256 = createHash('sha256').update(base).digest()
    for (let i = 0; i < 16; i++) need(next() === sha256[i], 'wrong base: hash')
  }
  for (let i = 0; i < 16; i++) next() // the result's hash: a decoder does not vouch for its result, the signed hash does
  return { bytes: at, version, method, hasBase, resultBytes }
}

// ---- Range code

type RangeCode = ReturnType<typeof rangeCode>

function rangeCode(code: Uint8Array) {
  let [range, value, at] = [2 ** 32 - 1, 0, 0]
  const nextByte = (): number => {
    need(at < code.length + 4, 'truncated')
    return code[at++] ?? 0
  }
  const refill = (): void => {
    while (range < 2 ** 24) {
      range = (range << 8) >>> 0
      value = ((value << 8) | nextByte()) >>> 0
    }
  }
  for (let i = 0; i < 4; i++) value = value * 256 + nextByte()
  return {
    bit(one: number): number {
      const bound = (range >>> 15) * (one >>> 1)
      const bit = value < bound ? 1 : 0
      range = bit ? bound : range - bound
      if (!bit) value -= bound
      refill()
      return bit
    },
    direct(n: number): number {
      let all = 0
      for (let k = 0, left = n; left > 0; left -= k) {
        k = Math.min(left, 12)
        const unit = range >>> k
        const part = Math.min(Math.floor(value / unit), 2 ** k - 1)
        value -= part * unit
        range = unit
        refill()
        all = all * 2 ** k + part // by no shift: there may be 32 bits
      }
      return all
    },
    end(): void {
      need(at >= code.length, 'bytes left over')
    },
  }
}

const RATE = Uint16Array.from({ length: 251 }, (_, n) => Math.round(16384 / (n + 1.5)))
/** Where the adaptive bits of bytes, of numbers and of floats begin; those of stretches begin at 0. */
const B = 88
const N = 896
const F = N + 1075
type Bits = ReturnType<typeof adaptiveBits>

function adaptiveBits(code: RangeCode, entries: number) {
  const [p, n] = [new Uint16Array(entries).fill(32768), new Uint8Array(entries)]
  const bit = (i: number): number => {
    const was = p[i]!
    const rate = RATE[n[i]!]!
    const one = code.bit(was)
    p[i] = one ? Math.min(was + (((65536 - was) * rate) >> 14), 65512) : Math.max(was - ((was * rate) >> 14), 24)
    n[i] = Math.min(n[i]! + 1, 250)
    return one
  }
  const tree = (at: number, k: number): number => {
    let node = 1
    for (let i = 0; i < k; i++) node = 2 * node + bit(at + node)
    return node - 2 ** k
  }
  /** A number of which the highest 1 is known: `top` bits more by a tree, the others direct. */
  const headed = (at: number, top: number, below: number): number => {
    const head = tree(at, top)
    return (2 ** top + head) * 2 ** below + code.direct(below)
  }
  const uint = (at: number): number => {
    const length = tree(at, 6)
    need(length <= 32, 'malformed: a number of more than 32 bits')
    if (length < 2) return length
    const top = length > 5 ? 0 : length === 2 ? 1 : 2
    return headed(at + 64 + 4 * length, top, length - 1 - top)
  }
  const signed = (u: number): number => (u % 2 === 0 ? u / 2 : -(u + 1) / 2)
  const int = (at: number): number => signed(uint(at))
  const topOf = (length: number): number => Math.min(length - 1, 2)
  const mantissa = (at: number, length: number): number =>
    headed(at + 4 * length, topOf(length), length - 1 - topOf(length))
  const limitCounts = (at: number, length: number, most: number): void => {
    for (let i = at; i < at + length; i++) n[i] = Math.min(n[i]!, most)
  }
  return { bit, tree, uint, int, mantissa, direct: code.direct, limitCounts }
}

// ---- Payload

type Shifts = [number, number, number]
/** Base and result in one space of addresses, and what is kept through the whole patch. */
type State = { base: Uint8Array; result: Uint8Array; made: number; shifts: Shifts; baseEnd: number; history: number }

const targetOf = (s: State): number => s.base.length + s.made
const leftOf = (s: State): number => s.result.length - s.made
const byteAt = (s: State, at: number): number => (at < s.base.length ? s.base[at]! : s.result[at - s.base.length]!)

function decodePayload(header: Header, givenBase: Uint8Array, payload: Uint8Array): Uint8Array {
  const base = header.hasBase ? givenBase : new Uint8Array(0)
  const withRuns = header.method === NUMBERS
  const code = rangeCode(payload)
  const bits = adaptiveBits(code, withRuns ? 3378 : 896)
  const result = new Uint8Array(header.resultBytes)
  const s: State = { base, result, made: 0, shifts: [base.length, 0, 0], baseEnd: 0, history: 0 }
  const literal = literals(header.version, code, bits, s, withRuns ? 2048 : 5888)

  const stretch = (): void => {
    const bytes = bits.uint(0)
    need(bytes <= leftOf(s), 'malformed: a stretch beyond the result')
    const end = s.made + bytes
    while (s.made < end) {
      const isCopy = bits.bit(B + (s.history | ((s.made & 3) << 3)))
      s.history = ((s.history << 1) | isCopy) & 7
      if (isCopy) copy(bits, s, end - s.made)
      else literal()
    }
  }
  stretch()
  while (leftOf(s) > 0) {
    need(withRuns, 'malformed: a run in `bytes`')
    run(bits, s)
    if (leftOf(s) > 0) stretch()
  }
  code.end()
  return result
}

// ---- Copy

function copy(bits: Bits, s: State, left: number): void {
  const before = (s.history >> 1) & 3
  const kind = bits.tree(B + 64 + 8 * before, 3)
  need(kind <= 5, 'malformed: kind of copy')
  const table = kind < 3 ? 0 : kind === 3 ? 1 : 2
  const length = bits.uint(B + 96 + 88 * table) + (kind < 3 ? 1 : 2)
  need(length <= left, 'malformed: a copy beyond its stretch')
  const shift = shiftOf(bits, s, kind, length)
  need(shift >= 1 && shift <= targetOf(s), 'malformed: shift')

  const [first, second, third] = s.shifts
  if (shift !== first) s.shifts = [shift, first, shift === second ? third : second]
  const source = targetOf(s) - shift
  if (source < s.base.length) s.baseEnd = Math.min(source + length, s.base.length)
  for (let i = 0; i < length; i++) s.result[s.made++] = byteAt(s, source + i)
}

function shiftOf(bits: Bits, s: State, kind: number, length: number): number {
  if (kind < 3) return s.shifts[kind]!
  if (kind === 3) {
    const d = bits.int(B + 360)
    return s.shifts[0] + (d < 0 ? d : d + 1) // no difference is kind 0
  }
  if (kind === 4) return targetOf(s) - (s.baseEnd + bits.int(B + 448))
  const t = length < 3 ? 0 : length < 6 ? 1 : 2
  const fours = bits.uint(B + 536 + 88 * t)
  return 4 * fours + bits.tree(B + 800, 2) + 1
}

// ---- Literal

const STRETCH = Int16Array.from({ length: 1024 }, (_, i) =>
  Math.round(256 * Math.log((i + 0.5) / 1024 / (1 - (i + 0.5) / 1024))),
)
const SQUASH = Uint16Array.from({ length: 513 }, (_, i) => Math.round(65536 / (1 + Math.exp((256 - i) / 32))))
const TRUST = [5, 9, 11, 12, 13, 14, 14, 14, 14, 14, 15, 15, 15, 15, 15, 15]
const SLOT_RATE = [40960, 25206, 18204, 14247, 11703, 9930, 8623, 7620, 6827, 6183, 5650, 5201, 4819, 4489, 4201, 3948]
const PARTS = [0, 1400, 2600, 3050, 3500, 4096] // e[1] to e[6]
const NONE = -1
const ALL_INPUTS = [0, 1, 2, 3, 4, 5, 6, 7, 8] // 0 to 5 are of both versions, 6 to 8 what is told in version 2
/** What version 2 tells of a literal: the bytes, which of them are new and which have an input. */
type Told = { bytes: number[]; isNew: boolean[]; asked: boolean[] }
const NOTHING_TOLD: Told = { bytes: [], isNew: [], asked: [] }

/** Gives the function that decodes the next literal and adds it to the result. */
function literals(version: number, code: RangeCode, bits: Bits, s: State, slotCount: number): () => void {
  const slots = new Uint16Array(slotCount).fill(2048 << 4)
  const weight = Int32Array.from({ length: 12 * 9 }, (_, i) => (i % 9 < 6 ? 23593 : 39322))
  const begin = version === 1 ? 256 : 304 // for all literals of a version, with a byte expected or not
  const from = [0, ...PARTS.map((e) => begin + Math.floor((e * (slotCount - begin)) / 4096))] // from[0] is not used
  let changes: [number, number] = [0, 0]
  const right = [0, 0, 0]
  let guesses: [number, number, number] = [0, 0, 0]

  const literal = (): void => {
    const source = targetOf(s) - s.shifts[0]
    const expected = s.shifts[0] > 0 && source >= 0 ? byteAt(s, source) : NONE
    const byte = version === 1 || expected === NONE ? eightBits(expected, NOTHING_TOLD) : toldLiteral(expected, source)
    s.result[s.made++] = byte
  }

  const toldLiteral = (expected: number, source: number): number => {
    const [follows, place] = [s.history & 2, s.made & 3]
    const word = wordTo(source, place)
    const bytes = [expected, ...changes.map((change) => ((word + change) >>> (8 * place)) & 255)]
    const isNew = bytes.map((byte, i) => bytes.indexOf(byte) === i)
    const asked = [...isNew]
    const guess = isNew[1] && right[1] ? 1 : follows ? NONE : 0
    let byte = NONE
    if (guess !== NONE && guesses[0]) {
      asked[guess] = false // it is told here, or denied and no input of what follows
      if (bits.bit(B + 32 + place + 4 * guess + 8 * (guesses[1] | (guesses[2] << 1)))) byte = bytes[guess]!
    }
    if (byte === NONE) byte = eightBits(expected, { bytes, isNew, asked })

    for (let i = 0; i < 3; i++) if (isNew[i]) right[i] = byte === bytes[i] ? 1 : 0
    if (guess !== NONE) guesses = [byte === bytes[guess] ? 1 : 0, guesses[0], guesses[1]]
    const lower = place === 0 ? 0 : wordTo(targetOf(s) - 1, place - 1)
    const here = (lower | (byte << (8 * place))) >>> 0
    if (byte === bytes[1] || here === word) return byte
    if (byte === bytes[2]) changes = [changes[1], changes[0]]
    else {
      // A change that told the lower bytes of this word was a part of the one seen now: it is replaced, not kept.
      const toldByHalf = place > 0 && (((word + changes[0]) ^ here) & (2 ** (8 * place) - 1)) === 0
      changes = [(here - word) | 0, toldByHalf ? changes[1] : changes[0]]
    }
    return byte
  }

  /** The bytes from `address` - `place` to `address`, the first lowest. */
  const wordTo = (address: number, place: number): number => {
    let word = 0
    for (let i = Math.max(0, place - address); i <= place; i++) word |= byteAt(s, address - place + i) << (8 * i)
    return word >>> 0
  }

  const [slotOf, input] = [new Int32Array(9), new Int32Array(9)]
  const eightBits = (expected: number, told: Told): number => {
    const [follows, place] = [s.history & 2, s.made & 3]
    const back = (n: number): number => s.result[s.made - n] ?? 0 // a, b, c, d of the page
    const ab = back(1) | (back(2) << 8)
    const third = expected === NONE ? 0x3000000 | place : (expected | (follows << 8)) + 0x3000400
    const fifth = Math.imul(ab | (back(3) << 16), 0x2c9277b5) + 5
    const hash = [0, back(1) + 0x100, ab + 0x20000, third, (back(4) | (place << 8)) + 0x4000000, fifth] // input 0 has none
    const set = 9 * (place + (expected === NONE ? 0 : follows ? 4 : 8))
    let node = 1
    for (let below = 7; below >= 0; below--) {
      let sum = 0 // 45 bits at most, which a double holds
      /** The slots of inputs 6 to 8 expect what is told: whether that is a 1. */
      const expectsOne = (i: number): boolean => i < 6 || ((told.bytes[i - 6]! >> below) & 1) === 1
      slotOf[0] = node
      for (let i = 1; i <= 5; i++) {
        const h = Math.imul(Math.imul(hash[i]!, 0x9e3779b1) ^ Math.imul(node, 0x3d4d51cb), 0x85ebca6b)
        slotOf[i] = from[i]! + ((((h ^ (h >>> 15)) >>> 16) * (from[i + 1]! - from[i]!)) >>> 16)
      }
      for (let i = 0; i < 3; i++) {
        const isThere = told.asked[i] && node === (told.bytes[i]! | 256) >> (below + 1)
        const slot = 256 + 16 * i + (told.isNew[1] ? 8 : 0) + (follows ? 4 : 0) + 2 * right[i]! + (below === 7 ? 0 : 1)
        slotOf[6 + i] = isThere ? slot : NONE
      }
      const there = ALL_INPUTS.filter((i) => slotOf[i] !== NONE)
      for (const i of there) {
        const slot = slots[slotOf[i]!]!
        const x = (STRETCH[slot >>> 6]! * TRUST[slot & 15]!) >> 4
        input[i] = expectsOne(i) ? x : -x // rounded first, then negative
        sum += weight[set + i]! * input[i]
      }
      const x = clamp(Math.floor(sum / 65536 + 0.5), -2047, 2047)
      const one = clamp(SQUASH[(x + 2052) >> 3]!, 32, 65504)
      const bit = code.bit(one)
      const error = 65536 * bit - one
      for (const i of there) {
        weight[set + i]! += (input[i]! * error) >> 14
        slots[slotOf[i]!] = moved(slots[slotOf[i]!]!, (bit === 1) === expectsOne(i))
      }
      node = 2 * node + bit
    }
    return node - 256
  }
  return literal
}

/** A slot after one more bit: 12 bits of probability above 4 of a count. */
function moved(slot: number, up: boolean): number {
  const [p, count] = [slot >>> 4, slot & 15]
  const rate = SLOT_RATE[count]!
  return ((up ? p + (((4095 - p) * rate) >> 16) : p - ((p * rate) >> 16)) << 4) | Math.min(count + 1, 15)
}

// ---- Runs of numbers

/** Bytes of a number; of floats also the bits of exponent and mantissa. In this order: int8, int16, int32, float16, bfloat16, float32. */
const WIDTH = [1, 2, 4, 2, 2, 4]
const EXPONENT = [0, 0, 0, 5, 8, 8]
const MANTISSA = [0, 0, 0, 10, 7, 23]
type Run = {
  kind: number
  count: number
  hasSource: boolean
  q: (k: number) => number
  write: (number: number) => void
}

function run(bits: Bits, s: State): void {
  const kind = bits.tree(N + 2466, 3)
  need(kind <= 5, 'malformed: kind of run')
  const width = WIDTH[kind]!
  const count = bits.uint(N + 2114) + 1
  const bytes = count * width
  need(bytes <= leftOf(s), 'malformed: a run beyond the result')
  const source = bits.tree(N + 2474, 2)
  need(source < 3, 'malformed: source of a run')
  let offset = 0
  if (source === 1) {
    offset = s.baseEnd + bits.int(N + 2202)
    need(offset >= 0 && offset + bytes <= s.base.length, 'malformed: a run predicted from outside the base')
    s.baseEnd = offset + bytes
  } else if (source === 2) {
    offset = s.made + bits.int(N + 2290)
    need(offset >= 0 && offset + bytes <= s.made, 'malformed: a run predicted from outside what is made')
  }
  const file = source === 1 ? s.base : s.result
  const q = (k: number): number => {
    let number = 0
    if (source > 0) for (let i = width - 1; i >= 0; i--) number = number * 256 + file[offset + k * width + i]!
    return number
  }
  const write = (number: number): void => {
    for (let i = 0; i < width; i++) s.result[s.made++] = (number >>> (8 * i)) & 255
  }
  const r: Run = { kind, count, hasSource: source > 0, q, write }
  if (kind === 0) int8(bits, r)
  else if (kind < 3) int16or32(bits, r)
  else if (source === 0) floats(bits, r)
  else floatsOfSource(bits, r)
}

function int8(bits: Bits, r: Run): void {
  const center = bits.direct(8)
  const channel = bits.uint(N + 2378)
  const local = bits.bit(N + 2478)
  const begin = r.hasSource ? N + 245 : N
  bits.limitCounts(begin, 245, 30)
  let [seen, sum] = [0, 0] // `seen` is the page's `in`
  let [mean, gain]: [number, number] = r.hasSource ? [64, 256] : [400, 0]
  for (let k = 0; k < r.count; k++) {
    if (channel > 0 && k % channel === 0) {
      seen = sum = 0
      const mode = r.hasSource ? bits.tree(N + 490, 2) : 1
      gain = mode === 1 ? 0 : mode === 2 ? 192 + 2 * bits.tree(N + 494, 6) : 256
    } else if (channel === 0 && seen === 64) {
      seen = 32
      sum >>= 1
    }
    let predicted = r.hasSource ? ((r.q(k) - center) << 24) >> 24 : 0
    if (gain !== 256) predicted = clamp((predicted * gain + 128) >> 8, -128, 127)
    const bin = local ? binOf(Math.floor((sum + 6 * mean) / (seen + 6))) : 0
    const difference = differenceOf(bits, begin, bin)
    r.write((predicted + difference + center) & 255)
    const size16 = 16 * Math.abs(difference)
    sum += size16
    seen++
    mean += Math.trunc((size16 - mean) / (k < 299 ? k + 4 : 300))
  }
}

function binOf(x: number): number {
  const l = x === 0 ? 0 : 31 - Math.clz32(x)
  return l < 2 ? 1 : Math.min(12, 2 * l - 2 + ((x >>> (l - 1)) & 1))
}

function differenceOf(bits: Bits, begin: number, bin: number): number {
  const first = begin + 9 * bin
  if (bits.bit(first)) return 0
  const negative = bits.bit(first + 1)
  let power = 0
  while (power < 7 && bits.bit(first + 2 + power)) power++
  const rest = power >= 1 && power <= 6 ? bits.tree(begin + 117 + 2 ** power - 3, power) : 0
  return negative ? -(2 ** power + rest) : 2 ** power + rest
}

function int16or32(bits: Bits, r: Run): void {
  let last = 0
  for (let k = 0; k < r.count; k++) {
    const near = last === 0 ? 0 : last > 20 ? 5 : Math.min(5, 1 + (last >> 2))
    const length = bits.tree(N + 558 + 64 * near, 6)
    last = (last + length + 1) >> 1
    const negative = length > 0 && bits.bit(N + 1074) === 1
    const size = length > 0 ? bits.mantissa(N + 942, Math.min(length, 32)) : 0
    r.write(negative ? r.q(k) - size : r.q(k) + size)
  }
}

function floats(bits: Bits, r: Run): void {
  const [exponentBits, mantissa] = [EXPONENT[r.kind]!, MANTISSA[r.kind]!]
  const runExponent = bits.direct(8)
  const zeroBits = bits.direct(5)
  need(zeroBits <= mantissa - 4, 'malformed: zero bits')
  let last = 0
  for (let k = 0; k < r.count; k++) {
    const below = bits.tree(F + 32 * last, 5)
    const exponent = below === 31 || below > runExponent ? bits.direct(exponentBits) : runExponent - below
    last = Math.min(below, 7)
    const sign = bits.bit(F + 256)
    const head = bits.tree(F + 257 + 16 * last, 4)
    const rest = bits.direct(mantissa - 4 - zeroBits) << zeroBits
    r.write((sign << (exponentBits + mantissa)) | (exponent << mantissa) | (head << (mantissa - 4)) | rest)
  }
}

function floatsOfSource(bits: Bits, r: Run): void {
  const [exponentBits, mantissa] = [EXPONENT[r.kind]!, MANTISSA[r.kind]!]
  const runExponent = bits.direct(8)
  const gain = r.kind === 5 && bits.bit(N + 2479) ? bits.direct(32) : 0x3f800000
  const signBit = 2 ** (exponentBits + mantissa)
  let last = 0
  for (let k = 0; k < r.count; k++) {
    const predicted = gain === 0x3f800000 || gain === 0 ? r.q(k) : product(r.q(k), gain)
    const same = bits.bit(F + 385 + last)
    last = ((last << 1) & 7) | same
    if (same) {
      r.write(predicted)
      continue
    }
    const near = clamp(runExponent - ((predicted >>> mantissa) & (2 ** exponentBits - 1)), 0, 7)
    const length = Math.min(32, bits.tree(F + 393 + 64 * near, 6))
    const negative = bits.bit(F + 905)
    const size = length > 0 ? bits.mantissa(F + 907, length) : 0
    const from = predicted < signBit ? predicted : -1 - (predicted - signBit)
    const place = (negative ? from - size : from + size) | 0
    r.write(place < 0 ? signBit | (~place & (signBit - 1)) : place & (signBit - 1))
  }
}

/** The float32 product of two floats, as bits. A double holds it exactly, so it is rounded once. */
function product(a: number, b: number): number {
  const view = new DataView(new ArrayBuffer(8))
  view.setUint32(0, a)
  view.setUint32(4, b)
  const exact = view.getFloat32(0) * view.getFloat32(4)
  view.setFloat32(0, exact)
  return Number.isNaN(exact) ? 0x7fc00000 : view.getUint32(0)
}
