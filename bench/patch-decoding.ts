/** A process that only decodes, for `bench/patch.ts`: `patch-decoding.js time|memory OLD|- PATCH RESULT-BYTES`. Prints one line of JSON.
 *
 *  `time`: the first, cold run and the best of many, and the core time of the best batch of them, which says the same on a machine that is
 *  busy with other things. `memory`: bytes of every buffer that the decoder makes, counted by putting counting
 *  constructors in the place of the global ones before the decoder is loaded. What is made is never taken as freed again, so the count
 *  bounds the peak from above.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

export interface DecodingTime {
  readonly sha256: string
  readonly coldMs: number
  readonly bestMs: number
  /** of one warm run, all threads of the process */
  readonly coreMs: number
}

export interface DecodingMemory {
  readonly sha256: string
  /** constant tables, made when the decoder's code is loaded */
  readonly tableBytes: number
  /** made by one decoder while it works, the page not counted */
  readonly stateBytes: number
}

const PAGE_BYTES = 4_096
const BLOCK_BYTES = 4_096
/** Chosen: enough batches for the optimizing compiler to have seen everything, and for one run to have had a core to itself; a batch
 *  long enough for the kernel's count of core time. */
const BATCHES = 20
const BATCH_MS = 100

const [mode, oldPath, patchPath, resultBytes] = process.argv.slice(2) as [string, string, string, string]
const digest = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest())
const image = oldPath === '-' ? null : new Uint8Array(readFileSync(oldPath))
const base = image && { image, sha256: digest(image) }
const patch = new Uint8Array(readFileSync(patchPath))
const result = new Uint8Array(Number(resultBytes))
const sha256 = (): string => Buffer.from(digest(result)).toString('hex')

const BUFFERS = [
  'ArrayBuffer',
  'SharedArrayBuffer',
  'Int8Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
] as const

/** Puts counting constructors in the place of the global ones. Copies (`slice`, `from`, `map`) go through them too, views of a buffer
 *  that exists count nothing. Not seen: objects that are no buffers, and `slice` of an ArrayBuffer, which the decoder does not use. */
function countBuffers(): () => number {
  let bytes = 0
  const { ArrayBuffer: NativeBuffer, SharedArrayBuffer: NativeShared } = globalThis
  const globals = globalThis as unknown as Record<string, new (...args: unknown[]) => { readonly byteLength: number }>
  for (const name of BUFFERS) {
    const Native = globals[name]!
    const Counting = class extends Native {
      constructor(...args: unknown[]) {
        super(...args)
        if (!(args[0] instanceof NativeBuffer) && !(args[0] instanceof NativeShared)) bytes += this.byteLength
      }
    }
    Object.defineProperty(Counting, 'name', { value: name })
    globals[name] = Counting
  }
  return () => bytes
}

/** @returns milliseconds that the decoder worked */
async function decoding(): Promise<() => number> {
  const { decodePatch } = await import('../cli/patch/patch-decode.ts')
  return () => {
    let workedMs = 0
    const from = performance.now()
    const hash = (made: Uint8Array): Uint8Array => {
      workedMs = performance.now() - from
      return digest(made)
    }
    const decoded = decodePatch(patch, base, result, hash, { pageBytes: PAGE_BYTES, blockBytes: BLOCK_BYTES })
    if (!decoded.ok) throw new Error(`${patchPath}: ${decoded.error.code}: ${decoded.error.detail}`)
    return workedMs
  }
}

async function time(): Promise<DecodingTime> {
  const decode = await decoding()
  const coldMs = decode()
  let [bestMs, coreMs] = [coldMs, Number.POSITIVE_INFINITY]
  for (let batch = 0; batch < BATCHES; batch++) {
    let runs = 0
    const before = process.cpuUsage()
    for (let spentMs = 0; spentMs < BATCH_MS; runs++) {
      const ms = decode()
      spentMs += ms
      bestMs = Math.min(bestMs, ms)
    }
    const { user, system } = process.cpuUsage(before)
    coreMs = Math.min(coreMs, (user + system) / 1000 / runs)
  }
  return { sha256: sha256(), coldMs, bestMs, coreMs }
}

async function memory(): Promise<DecodingMemory> {
  // Its hash tables are those of every device's trust, not of patches.
  await import('../contract/bytes.ts')
  const counted = countBuffers()
  const decode = await decoding()
  const tableBytes = counted()
  decode()
  return { sha256: sha256(), tableBytes, stateBytes: counted() - tableBytes - PAGE_BYTES }
}

console.log(JSON.stringify(await (mode === 'time' ? time() : memory())))
