import { decode as cborDecode, encode as cborEncode } from 'cborg'
import fc from 'fast-check'
import type { SeededRandom } from '../../contract/random.ts'

/** A document is changed as a tree and written again: what gets past the parser is wrong in its values, not in its brackets. */
export type TreeFormat = 'json' | 'cbor'

type Branch = Map<unknown, unknown> | unknown[] | Record<string, unknown>
/** One place in a tree: the branch and the key under which something hangs. */
type Place = readonly [branch: Branch, key: unknown]

/** Chosen: drawn once, since drawing costs more than most decoders do. */
const VALUES = 2_000

/** Changes documents of one format.
 *  @param seed of the values that replace others, drawn with fast-check
 */
export function treeMutation(format: TreeFormat, seed: number): (data: Uint8Array, random: SeededRandom) => Uint8Array {
  const keys = fc.oneof(fc.string(), fc.constantFrom('signed', 'signatures', 'keys', 'version', '_type', '__proto__'))
  const json = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.constantFrom(-1, 0, 2 ** 31, 2 ** 53 - 1, 0.5, 1e21, '', '../x', '\0', 'a'.repeat(5_000), null, true),
    fc.dictionary(keys, fc.jsonValue({ maxDepth: 1 }), { maxKeys: 4 }),
  )
  const values: readonly unknown[] = fc.sample(
    format === 'json' ? json : fc.oneof(json, fc.uint8Array({ maxLength: 600 })),
    { seed, numRuns: VALUES },
  )
  const pick = <T>(random: SeededRandom, items: readonly T[]): T => items[Math.floor(random.next() * items.length)]!
  return (data, random) => {
    const tree = read(format, data)
    if (tree === undefined) return data
    // A root of its own, so that the whole document may be replaced too.
    const root: unknown[] = [tree]
    for (let left = 1 + Math.floor(random.next() * 3); left > 0; left--) {
      const [branch, key] = pick(random, placesOf(root))
      // A copy: what is hung into one tree must not grow by the changes of the next.
      const value = structuredClone(pick(random, values))
      const kind = random.next()
      if (kind < 0.6) set(branch, key, value)
      else if (kind < 0.75) remove(branch, key)
      else if (kind < 0.9) set(branch, typeof key === 'number' ? key + 1 : pick(random, ['x', 'v', 'type', '0']), value)
      else set(branch, key, [get(branch, key)])
    }
    try {
      return write(format, root[0])
    } catch {
      // A tree without an encoding (undefined, a cycle) is no input.
      return data
    }
  }
}

function read(format: TreeFormat, data: Uint8Array): unknown {
  try {
    return format === 'json' ? JSON.parse(new TextDecoder().decode(data)) : cborDecode(data, { useMaps: true })
  } catch {
    return undefined
  }
}

const write = (format: TreeFormat, tree: unknown): Uint8Array =>
  format === 'json' ? new TextEncoder().encode(JSON.stringify(tree)) : cborEncode(tree)

const isBranch = (value: unknown): value is Branch =>
  typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)

const keysOf = (branch: Branch): unknown[] => [
  ...(branch instanceof Map ? branch.keys() : Array.isArray(branch) ? branch.keys() : Object.keys(branch)),
]

function placesOf(root: Branch): Place[] {
  const places: Place[] = []
  const open: Branch[] = [root]
  for (let branch = open.pop(); branch !== undefined; branch = open.pop()) {
    for (const key of keysOf(branch)) {
      places.push([branch, key])
      const value = get(branch, key)
      if (isBranch(value)) open.push(value)
    }
  }
  // An emptied root still has its place.
  return places.length > 0 ? places : [[root, 0]]
}

const get = (branch: Branch, key: unknown): unknown =>
  branch instanceof Map ? branch.get(key) : (branch as Record<PropertyKey, unknown>)[key as PropertyKey]

function set(branch: Branch, key: unknown, value: unknown): void {
  if (branch instanceof Map) branch.set(key, value)
  // As JSON.parse does it: an own property, whatever its name.
  else
    Object.defineProperty(branch, key as PropertyKey, { value, writable: true, enumerable: true, configurable: true })
}

function remove(branch: Branch, key: unknown): void {
  if (branch instanceof Map) branch.delete(key)
  else if (Array.isArray(branch)) branch.splice(key as number, 1)
  else delete branch[key as string]
}
