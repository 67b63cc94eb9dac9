import { addAbortSignal } from 'node:stream'
import type { Clock } from '../../contract/clock.ts'
import type { BundleInput } from '../../contract/manifest-v2.ts'
import { CommandFailure } from '../failure.ts'
import { inputPieces, valuesPerSecond } from './device-input.ts'

/** A number as it comes on standard input: of sound 16 bits, of vectors little-endian float32, of pictures a byte. */
const SAMPLE = { bytes: 2, read: (data: Buffer, at: number): number => data.readInt16LE(at) / 32_768 }
const FLOAT = { bytes: 4, read: (data: Buffer, at: number): number => data.readFloatLE(at) }
const BYTE = { bytes: 1, read: (data: Buffer, at: number): number => data.readUInt8(at) }

/** Raw numbers from standard input, until it ends or the device is stopped. */
export async function* standardInput({ kind }: BundleInput, stop: AbortSignal): AsyncGenerator<Float32Array> {
  const { bytes, read } = { audio: SAMPLE, vectors: FLOAT, image: BYTE }[kind]
  const input = addAbortSignal(stop, process.stdin)
  let rest = Buffer.alloc(0)
  try {
    for await (const data of input as AsyncIterable<Buffer>) {
      rest = Buffer.concat([rest, data])
      const whole = rest.length - (rest.length % bytes)
      const samples = new Float32Array(whole / bytes)
      for (let i = 0; i < samples.length; i++) samples[i] = read(rest, bytes * i)
      rest = rest.subarray(whole)
      yield samples
    }
  } catch (cause) {
    if (!stop.aborted) throw cause
  }
}

/** Plays files over and over, in chunks of a fifth of a second. Never ends; throws when there is nothing to play. */
export function* playback(path: string, input: BundleInput): Generator<Float32Array, never> {
  const chunk = Math.ceil(valuesPerSecond(input) / 5)
  for (let round = 0; ; round++) {
    let chunks = 0
    // Said once: the same files are skipped, and are peculiar, in each round.
    const skipped =
      round > 0 ? () => undefined : (file: string, reason: string) => console.error(`skipped ${file}: ${reason}`)
    for (const { name, samples, notes } of inputPieces(path, input, [], skipped)) {
      if (round === 0) for (const note of notes) console.error(`${name}: ${note}`)
      for (let at = 0; at < samples.length; at += chunk, chunks++) yield samples.subarray(at, at + chunk)
    }
    if (chunks === 0)
      throw new CommandFailure(`${path}: none of the ${input.kind === 'audio' ? 'WAV ' : ''}files could be read`)
  }
}

/** Gives chunks at the speed at which they were recorded, until the device is stopped. */
export async function* paced(
  first: IteratorResult<Float32Array>,
  rest: Generator<Float32Array, never>,
  perSecond: number,
  clock: Clock,
  stop: AbortSignal,
): AsyncGenerator<Float32Array> {
  const wait = { end: (): void => undefined }
  stop.addEventListener('abort', () => wait.end(), { once: true })
  let dueMs = clock.monotonicMs()
  for (let next = first; !next.done; next = rest.next()) {
    dueMs += (1000 * next.value.length) / perSecond
    const waitMs = dueMs - clock.monotonicMs()
    if (waitMs > 0) {
      await new Promise<void>((resolve) => {
        const cancel = clock.after(waitMs, resolve)
        wait.end = () => {
          cancel()
          resolve()
        }
      })
    }
    if (stop.aborted) return
    yield next.value
  }
}
