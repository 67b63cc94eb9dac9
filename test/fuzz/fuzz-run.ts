import { bytesEqual, bytesToHex } from '../../contract/bytes.ts'
import type { SeededRandom } from '../../contract/random.ts'
import { mutated } from './mutation.ts'
import { type TreeFormat, treeMutation } from './tree-mutation.ts'

/** A decoder of hostile bytes and what must hold of it. */
export interface FuzzTarget {
  readonly name: string
  /** whole, valid inputs that mutation starts from */
  readonly corpus: readonly Uint8Array[]
  /** what the inputs are, when they are trees: half of the changes are then made to the tree */
  readonly tree?: TreeFormat
  /** Its share of the inputs. Signatures take milliseconds, a CBOR map microseconds. */
  readonly weight: number
  /** Most bytes that one input may make it allocate. */
  readonly allocationBytes: number
  /** What lies beyond a file's own end is ignored: an input of any size is fine as long as its tail is not looked at. */
  readonly ignoresTail?: boolean
  /** Decodes one input. Throws when the decoder throws, or accepts what it must not.
   *  @param isOriginal whether the input is an unchanged member of the corpus
   *  @returns the error code, or `accepted` */
  run(input: Uint8Array, isOriginal: boolean): string | Promise<string>
}

export interface Failure {
  readonly target: string
  readonly why: string
  readonly inputHex: string
}

export interface TargetReport {
  readonly name: string
  readonly inputs: number
  readonly accepted: number
  /** how often each code was the answer */
  readonly codes: Readonly<Record<string, number>>
  readonly slowestMs: number
  readonly largestAllocationBytes: number
}

/** Chosen: the slowest decoder takes a few ms of core time for its largest input (an Ed25519 signature 20); a second is a hang. */
const SLOW_MS = 1_000
/** Chosen: reading the heap takes longer than most decoders. */
const ALLOCATION_SAMPLE = 32
/** Chosen: inputs far beyond every limit must be refused by their size alone. */
const OVERSIZE_BYTES = 64 * 1024 * 1024

/** Chosen: enough of an input to see what it is; the seed gives it whole. */
export const SHOWN_BYTES = 4_096

/** Core time of this process, ms: the clock on the wall also counts what other processes take. */
const coreMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

const allocated = (): number => {
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Feeds one target; the same seed gives the same inputs.
 *  @param alive told the number of inputs so far, for progress and for a watchdog that must tell a hang from work
 */
export async function fuzzTarget(
  target: FuzzTarget,
  inputs: number,
  random: SeededRandom,
  alive: (done: number, input: Uint8Array) => void,
): Promise<{ readonly report: TargetReport; readonly failures: readonly Failure[] }> {
  const codes: Record<string, number> = {}
  const failures: Failure[] = []
  let [slowestMs, largestAllocationBytes, done] = [0, 0, 0]
  const fail = (input: Uint8Array, why: string) =>
    failures.push({ target: target.name, why, inputHex: bytesToHex(input.subarray(0, SHOWN_BYTES)) })
  const feed = async (input: Uint8Array, isOriginal: boolean, measured: boolean): Promise<string> => {
    alive(++done, input)
    const heapBefore = measured ? allocated() : 0
    const from = coreMs()
    let code: string
    try {
      code = await target.run(input, isOriginal)
    } catch (cause) {
      fail(input, cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause))
      return 'failed'
    }
    const tookMs = coreMs() - from
    slowestMs = Math.max(slowestMs, tookMs)
    if (tookMs > SLOW_MS) fail(input, `took ${tookMs.toFixed(0)} ms`)
    if (measured) {
      const bytes = allocated() - heapBefore
      largestAllocationBytes = Math.max(largestAllocationBytes, bytes)
      if (bytes > target.allocationBytes) fail(input, `allocated ${bytes} bytes, limit ${target.allocationBytes}`)
    }
    codes[code] = (codes[code] ?? 0) + 1
    return code
  }

  const changeTree = target.tree && treeMutation(target.tree, Math.floor(random.next() * 0x7fff_ffff))
  for (const original of target.corpus) {
    const code = await feed(original, true, false)
    if (code !== 'accepted' && code !== 'failed') fail(original, `refuses a valid input: ${code}`)
  }
  const oversize = new Uint8Array(OVERSIZE_BYTES)
  oversize.set(target.corpus[0]!)
  const oversized = await feed(oversize, false, true)
  if (oversized === 'accepted' && target.ignoresTail !== true) fail(oversize, 'accepts 64 MiB')
  // Some answers lead nearer to acceptance than others: an input that gives a new one is worth changing further.
  const pool = [...target.corpus]
  const seen = new Set(Object.keys(codes))
  while (done < inputs && failures.length < 20) {
    const [at, other] = [random.next(), random.next()].map((u) => pool[Math.floor(u * pool.length)]!)
    const input =
      changeTree !== undefined && random.next() < 0.5 ? changeTree(at!, random) : mutated(at!, random, other!)
    const code = await feed(
      input,
      target.corpus.some((original) => bytesEqual(original, input)),
      done % ALLOCATION_SAMPLE === 0,
    )
    if (!seen.has(code) && pool.length < 64) {
      seen.add(code)
      pool.push(input)
    }
  }
  const { accepted = 0, ...refused } = codes
  const report = { name: target.name, inputs: done, accepted, codes: refused, slowestMs, largestAllocationBytes }
  return { report, failures }
}
