import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import type { Clock } from '../contract/clock.ts'
import { seededRandom } from '../contract/random.ts'

/** What benchmarks share that measure a gateway in a process of its own: questions to it, answers from it, and what a gateway runs on. */

/** This machine's clock. */
const machineClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
}

/** Clock and randomness of a gateway that is measured. */
export const onThisMachine = () => ({
  clock: machineClock,
  random: seededRandom(1),
  secureRandom: { bytes: (length: number) => new Uint8Array(randomBytes(length)) },
})

/** Answers the parent's questions; an error ends the process. */
export function answerParent<Request, Answer extends object>(perform: (request: Request) => Promise<Answer>): void {
  process.on('message', (request: Request) => {
    perform(request).then(
      (answer) => process.send!(answer),
      (cause: unknown) => {
        console.error(cause)
        process.exit(1)
      },
    )
  })
}

/** One question to a child at a time. */
export const askChild = <Request extends object, Answer>(worker: ChildProcess, request: Request): Promise<Answer> =>
  new Promise((resolve, reject) => {
    worker.once('exit', reject)
    worker.once('message', (answer) => {
      worker.off('exit', reject)
      resolve(answer as Answer)
    })
    worker.send(request)
  })
