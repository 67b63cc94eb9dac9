import type { SeededRandom } from '../../contract/random.ts'

/** Values at which arithmetic on lengths, offsets and counters goes wrong. */
const EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]
/** What text is tempted by: nesting, numbers without end, other people's prototypes and paths. */
const WORDS = [
  '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[',
  '{"a":{"a":{"a":{"a":{"a":{"a":{"a":',
  '"__proto__":{"x":1},',
  '"constructor":',
  '../../../../etc/passwd',
  '\\u0000',
  '\ud83d',
  '1e309',
  '-0',
  '9007199254740993',
  '0.1',
  'null',
  'true',
  '[]',
  '{}',
  '""',
].map((word) => new TextEncoder().encode(word))

const below = (random: SeededRandom, bound: number): number => Math.floor(random.next() * bound)
const pick = <T>(random: SeededRandom, items: readonly T[]): T => items[below(random, items.length)]!

type Mutation = (data: Uint8Array, random: SeededRandom, other: Uint8Array) => Uint8Array

const splice = (data: Uint8Array, from: number, remove: number, insert: Uint8Array): Uint8Array => {
  const out = new Uint8Array(data.length - remove + insert.length)
  out.set(data.subarray(0, from))
  out.set(insert, from)
  out.set(data.subarray(from + remove), from + insert.length)
  return out
}
const range = (data: Uint8Array, random: SeededRandom, longest: number): readonly [from: number, length: number] => {
  const from = below(random, data.length + 1)
  return [from, below(random, Math.min(longest, data.length - from) + 1)]
}

const MUTATIONS: readonly Mutation[] = [
  function flipBit(data, random) {
    const out = data.slice()
    if (out.length > 0) out[below(random, out.length)]! ^= 1 << below(random, 8)
    return out
  },
  function setByte(data, random) {
    const out = data.slice()
    if (out.length > 0) out[below(random, out.length)] = random.next() < 0.5 ? pick(random, EDGES) : below(random, 256)
    return out
  },
  function setInteger(data, random) {
    const out = data.slice()
    const size = pick(random, [2, 4, 8])
    if (out.length < size) return out
    const view = new DataView(out.buffer)
    const at = below(random, out.length - size + 1)
    const value = pick(random, EDGES)
    const little = random.next() < 0.5
    if (size === 2) view.setUint16(at, value, little)
    else if (size === 4) view.setUint32(at, value, little)
    else view.setBigUint64(at, random.next() < 0.5 ? 0xffff_ffff_ffff_ffffn : BigInt(value), little)
    return out
  },
  function cut(data, random) {
    return data.slice(0, below(random, data.length + 1))
  },
  function drop(data, random) {
    const [from, length] = range(data, random, 32)
    return splice(data, from, length, new Uint8Array(0))
  },
  function repeat(data, random) {
    const [from, length] = range(data, random, 64)
    return splice(data, from, 0, data.slice(from, from + length))
  },
  function overwrite(data, random, other) {
    const [from, length] = range(other, random, 64)
    const at = below(random, data.length + 1)
    const piece = other.subarray(from, from + length)
    return splice(data, at, Math.min(piece.length, data.length - at), piece)
  },
  function insertWord(data, random) {
    return splice(data, below(random, data.length + 1), 0, pick(random, WORDS))
  },
  function insertNoise(data, random) {
    const noise = Uint8Array.from({ length: 1 + below(random, 16) }, () => below(random, 256))
    return splice(data, below(random, data.length + 1), 0, noise)
  },
  function turnDigit(data, random) {
    const digits = [...data.keys()].filter((at) => data[at]! >= 0x30 && data[at]! <= 0x39)
    const out = data.slice()
    if (digits.length > 0) out[pick(random, digits)] = 0x30 + below(random, 10)
    return out
  },
  function append(data, random) {
    return splice(data, data.length, 0, new Uint8Array(1 + below(random, 64)))
  },
]

/** Chosen: one change finds missing checks, several find their combinations, more only make noise that the first check refuses. */
const MUTATIONS_MAX = 4

/** A changed copy of `data`.
 *  @param other another member of the corpus, for splicing */
export function mutated(data: Uint8Array, random: SeededRandom, other: Uint8Array): Uint8Array {
  let out = data
  for (let left = 1 + below(random, MUTATIONS_MAX); left > 0; left--) out = pick(random, MUTATIONS)(out, random, other)
  return out
}
