import { parentPort, workerData } from 'node:worker_threads'
import { type ServerPort, serveStore } from './store-server.ts'
import type { StoreOptions } from './store-service.ts'

/** Entry of the store's thread; see StoreClient. */
serveStore(parentPort as ServerPort, workerData as StoreOptions)
