import { parentPort, workerData } from 'node:worker_threads'
import { type ServerPort, serveStore } from './store-server.ts'
import type { StoreOptions } from './store-service.ts'

/** Entry of the store's thread; see StoreClient. */

// SQLite's exceptions would reach the other thread without message and stack.
process.once('uncaughtException', (cause) => {
  throw new Error(`the store broke: ${cause.stack ?? cause.message}`)
})
serveStore(parentPort as ServerPort, workerData as StoreOptions)
