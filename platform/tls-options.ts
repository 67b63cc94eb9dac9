/** TLS of a listener. PEM. */
export interface TlsOptions {
  readonly cert: string | Buffer
  readonly key: string | Buffer
  /** authorities of clients' certificates; with it a client without a valid one does not get past the handshake */
  readonly clientCa?: string | Buffer | undefined
}

/** chosen: as long as a connection may take to its first word */
const HANDSHAKE_TIMEOUT_MS = 10_000

/** Options for node:tls and node:https. TLS 1.2 is what small stacks speak (mbed TLS before 3.6). */
export const tlsServerOptions = ({ cert, key, clientCa }: TlsOptions) => ({
  cert,
  key,
  minVersion: 'TLSv1.2' as const,
  handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  ...(clientCa !== undefined && { ca: clientCa, requestCert: true, rejectUnauthorized: true }),
})
