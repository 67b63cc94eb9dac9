import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'

/** TLS of the device-facing ports. PEM. */
export interface TlsOptions {
  readonly cert: string | Buffer
  readonly key: string | Buffer
  /** authorities of the devices' certificates; with it a device without a valid one does not get past the handshake */
  readonly clientCa?: string | Buffer | undefined
}

/** What TLS has established about the other side. */
export interface Certified {
  /** common name of the certificate: the device id */
  readonly name: string
  /** Unix ms */
  readonly validToMs: number
}

/** chosen: as long as a connection may take to its CONNECT */
const HANDSHAKE_TIMEOUT_MS = 10_000

/** Options for node:tls and node:https. TLS 1.2 is what small stacks speak (mbed TLS before 3.6). */
export const tlsServerOptions = ({ cert, key, clientCa }: TlsOptions) => ({
  cert,
  key,
  minVersion: 'TLSv1.2' as const,
  handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  ...(clientCa !== undefined && { ca: clientCa, requestCert: true, rejectUnauthorized: true }),
})

/** @returns undefined when no certificate was asked for; an empty name is no device's and is refused by admission */
export function certifiedPeer(socket: Duplex): Certified | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined
  const { subject, valid_to } = socket.getPeerCertificate()
  if (subject === undefined) return undefined
  const validToMs = Date.parse(valid_to)
  // Several common names come as a list: none of them is the one.
  return { name: typeof subject.CN === 'string' ? subject.CN : '', validToMs: Number.isNaN(validToMs) ? 0 : validToMs }
}
