import { parentPort, workerData } from 'node:worker_threads'
import { type LookOptions, LookService } from './look-service.ts'

/** Entry of the thread that looks; see LookClient. */

export type LookMethod = 'begin' | 'look' | 'pasts' | 'drift' | 'sums' | 'afterwards' | 'present'

export interface LookQuestion {
  readonly id: number
  readonly method: LookMethod
  readonly args: readonly unknown[]
}

export type LookAnswer = { readonly id: number } & ({ readonly value: unknown } | { readonly failed: string })

const service = new LookService(workerData as LookOptions)
const answerTo = async ({ id, method, args }: LookQuestion): Promise<void> => {
  let answer: LookAnswer
  try {
    const ask = service[method] as (...args: readonly unknown[]) => unknown
    answer = { id, value: await ask.apply(service, [...args]) }
  } catch (cause) {
    // SQLite's exceptions would arrive without message and stack.
    answer = { id, failed: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) }
  }
  parentPort?.postMessage(answer)
}
parentPort?.on('message', (question: LookQuestion) => void answerTo(question))
