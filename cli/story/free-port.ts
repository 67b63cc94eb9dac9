import { createServer } from 'node:net'
import { CommandFailure, fileReason } from '../failure.ts'

/** A TCP port on loopback that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() =>
        typeof address === 'object' && address !== null ? resolve(address.port) : reject(new Error('no port')),
      )
    })
  })
}

/** Refuses a TCP port on loopback that somebody listens at, before anything is started that would need it. */
export function assertFreePort(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (cause) => {
      const hint = '--port names another one; without it any free one is taken'
      reject(new CommandFailure(`port ${port}: ${fileReason(cause)}`, { hint, cause }))
    })
    server.listen(port, '127.0.0.1', () => server.close(() => resolve()))
  })
}
