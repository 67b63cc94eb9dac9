import type { Server, ServerOptions } from 'node:http'

/** Deadlines of a server's requests, in ms of real time, from the first byte that is awaited to the last: one that comes a byte at a time ends as
 *  one that never comes. The server answers 408 and ends the connection. */
export const REQUEST_DEADLINES = {
  // chosen: as long as a connection may take to its CONNECT
  headersTimeout: 10_000,
  // chosen: longer than a slow radio takes for 700 bytes
  requestTimeout: 20_000,
  // chosen: a deadline is met to a second
  connectionsCheckingInterval: 1_000,
  // chosen: a device asks for a challenge and then for its token
  keepAliveTimeout: 5_000,
} as const satisfies ServerOptions

/** chosen: longer than the cloud may take to answer what is relayed (CloudClient), and than a slow radio pauses */
const SILENT_MS_MAX = 60_000

/** Ends the connections by which nothing goes in either direction: whoever does not read his answer has no other end. */
export function boundIdle(server: Server): void {
  server.timeout = SILENT_MS_MAX
}
