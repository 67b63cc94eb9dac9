import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'

/** What TLS has established about the other side. */
export interface Certified {
  /** common name of the certificate: the device id */
  readonly name: string
  /** Unix ms */
  readonly validToMs: number
}

/** @returns undefined when no certificate was asked for; an empty name is no device's and is refused by admission */
export function certifiedPeer(socket: Duplex): Certified | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined
  const { subject, valid_to } = socket.getPeerCertificate()
  if (subject === undefined) return undefined
  const validToMs = Date.parse(valid_to)
  // Several common names come as a list: none of them is the one.
  return { name: typeof subject.CN === 'string' ? subject.CN : '', validToMs: Number.isNaN(validToMs) ? 0 : validToMs }
}
