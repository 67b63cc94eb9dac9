import type { LogFields, Logger } from '../../platform/logger.ts'
import { type StoreFigures, type StoreOptions, StoreService } from './store-service.ts'

/** What can be asked: the methods of the service. */
export type StoreMethod = {
  [K in keyof StoreService]: StoreService[K] extends (...args: never[]) => unknown ? K : never
}[keyof StoreService]

export interface StoreRequest {
  readonly id: number
  readonly method: StoreMethod
  readonly args: readonly unknown[]
}

/** What is left of an exception behind the port: SQLite's own would arrive without their message. */
export interface StoreError {
  readonly message: string
  /** SQLite's, when there is one */
  readonly code: string | undefined
}

/** Every answer carries what was counted since the last one, so that what a device was told is also what the figures say. */
export type StoreMessage =
  | {
      /** of the request; 0 says that the store is open, or why not */
      readonly id: number
      readonly value?: unknown
      readonly error?: StoreError
      readonly counts?: readonly (readonly [kind: string, outcome: string, amount: number])[]
      readonly figures?: StoreFigures
    }
  | { readonly log: keyof Logger; readonly context: LogFields; readonly text: string }

/** The part that a worker's port and a MessagePort have in common. */
export interface ServerPort {
  postMessage(message: StoreMessage): void
  on(event: 'message', listener: (request: StoreRequest) => void): unknown
}

/** Opens the store and answers requests, in the order in which they come but for those that wait for the medium. */
export function serveStore(port: ServerPort, options: StoreOptions): void {
  const log = (level: keyof Logger) => (context: LogFields, text: string) =>
    port.postMessage({ log: level, context, text })
  const error = (cause: unknown): StoreError => {
    const { message = String(cause), code } = cause as Partial<StoreError>
    return { message, code }
  }
  let service: StoreService
  try {
    service = new StoreService(options, { info: log('info'), warn: log('warn'), error: log('error') })
  } catch (cause) {
    port.postMessage({ id: 0, error: error(cause) })
    return
  }
  const answer = (id: number, result: { readonly value?: unknown; readonly error?: StoreError }): void =>
    port.postMessage({ id, ...result, counts: service.counters.take(), figures: service.figures })
  const serve = async ({ id, method, args }: StoreRequest): Promise<void> => {
    try {
      const perform = service[method] as (...args: readonly unknown[]) => unknown
      answer(id, { value: await perform.apply(service, [...args]) })
    } catch (cause) {
      answer(id, { error: error(cause) })
    }
  }
  port.on('message', (request) => void serve(request))
  answer(0, {})
}
