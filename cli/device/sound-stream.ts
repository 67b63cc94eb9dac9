import { addAbortSignal } from 'node:stream'
import type { Clock } from '../../contract/clock.ts'
import { CommandFailure } from '../failure.ts'
import { audioPieces } from './device-audio.ts'

const RATE_HZ = 16_000
const CHUNK_SAMPLES = RATE_HZ / 5

/** Raw 16-bit samples from standard input, until it ends or the device is stopped. */
export async function* microphone(stop: AbortSignal): AsyncGenerator<Float32Array> {
  const input = addAbortSignal(stop, process.stdin)
  let rest = Buffer.alloc(0)
  try {
    for await (const data of input as AsyncIterable<Buffer>) {
      rest = Buffer.concat([rest, data])
      const whole = rest.length - (rest.length % 2)
      const samples = new Float32Array(whole / 2)
      for (let i = 0; i < samples.length; i++) samples[i] = rest.readInt16LE(2 * i) / 32_768
      rest = rest.subarray(whole)
      yield samples
    }
  } catch (cause) {
    if (!stop.aborted) throw cause
  }
}

/** Plays files over and over, in chunks of a fifth of a second. Never ends; throws when there is nothing to play. */
export function* playback(audio: string): Generator<Float32Array, never> {
  for (let round = 0; ; round++) {
    let chunks = 0
    // Said once: the same files are skipped, and are peculiar, in each round.
    const skipped =
      round > 0 ? () => undefined : (file: string, reason: string) => console.error(`skipped ${file}: ${reason}`)
    for (const { name, samples, notes } of audioPieces(audio, RATE_HZ, [], skipped)) {
      if (round === 0) for (const note of notes) console.error(`${name}: ${note}`)
      for (let at = 0; at < samples.length; at += CHUNK_SAMPLES, chunks++)
        yield samples.subarray(at, at + CHUNK_SAMPLES)
    }
    if (chunks === 0) throw new CommandFailure(`${audio}: none of the WAV files could be read`)
  }
}

/** Gives chunks at the speed of sound, until the device is stopped. */
export async function* paced(
  first: IteratorResult<Float32Array>,
  sound: Generator<Float32Array, never>,
  clock: Clock,
  stop: AbortSignal,
): AsyncGenerator<Float32Array> {
  const wait = { end: (): void => undefined }
  stop.addEventListener('abort', () => wait.end(), { once: true })
  let dueMs = clock.monotonicMs()
  for (let next = first; !next.done; next = sound.next()) {
    dueMs += (1000 * next.value.length) / RATE_HZ
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
