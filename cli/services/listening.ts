import { isIP } from 'node:net'
import type { TlsPaths } from '../../platform/tls-files.ts'
import { CommandFailure } from '../failure.ts'

export interface ListenFlags {
  readonly host: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly clientCa?: string
  readonly insecure?: boolean
}

/** What a service listens with. Tokens cross the network in what it speaks: in the clear it stays on this machine unless somebody says that he
 *  knows.
 *  @throws CommandFailure with exit code 2 when files are missing, or it would speak in the clear to others */
export function tlsOf({ host, tlsCert, tlsKey, clientCa, insecure }: ListenFlags): TlsPaths | undefined {
  if ((tlsCert === undefined) !== (tlsKey === undefined) || (clientCa !== undefined && tlsCert === undefined)) {
    const words = '--tls-cert and --tls-key go together, and --client-ca with both'
    throw new CommandFailure(words, { exitCode: 2 })
  }
  if (tlsCert !== undefined && tlsKey !== undefined) return { cert: tlsCert, key: tlsKey, clientCa }
  if (insecure === true || isLoopback(host)) return undefined
  throw new CommandFailure(
    `--host ${host} is not this machine alone, and without TLS tokens cross the network in the clear`,
    {
      hint: 'give --tls-cert and --tls-key, or --insecure where something else encrypts (docs/deploy.md)',
      exitCode: 2,
    },
  )
}

/** Whether only this machine reaches an address. A name but "localhost" may mean any. @see RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3 */
export function isLoopback(host: string): boolean {
  if (host === 'localhost') return true
  return isIP(host) === 4 ? host.startsWith('127.') : host === '::1'
}
