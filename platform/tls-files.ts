import { X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import type { Clock } from '../contract/clock.ts'
import type { Logger } from './logger.ts'
import type { ReadinessReason } from './readiness.ts'
import { type TlsOptions, tlsServerOptions } from './tls-options.ts'
import { WatchedFile } from './watched-file.ts'

/** chosen: a new certificate is in use within half a minute */
const LOOK_EVERY_MS = 30_000
/** chosen: a chain or a bundle of authorities; the public web's is 200 KB */
const PEM_BYTES_MAX = 1024 * 1024

/** Where the PEM files of a listener lie. */
export interface TlsPaths {
  readonly cert: string
  readonly key: string
  readonly clientCa?: string | undefined
}

/** When a certificate ends. */
export interface CertificateEnd {
  readonly what: 'certificate' | 'client-ca'
  /** Unix ms */
  readonly expiresMs: number
}

/** TLS of a listener from files that are replaced while the process runs. What cannot be used (a key that does not fit its
 *  certificate, half a file) is refused and said; what was in use stays. */
export class TlsFiles {
  readonly #cert: WatchedFile
  readonly #key: WatchedFile
  readonly #clientCa: WatchedFile | undefined
  #ends: readonly CertificateEnd[] = []
  #broken: string | undefined
  #cancel: () => void = () => {}

  constructor({ cert, key, clientCa }: TlsPaths) {
    this.#cert = new WatchedFile(cert, PEM_BYTES_MAX)
    this.#key = new WatchedFile(key, PEM_BYTES_MAX)
    this.#clientCa = clientCa === undefined ? undefined : new WatchedFile(clientCa, PEM_BYTES_MAX)
  }

  /** Of what is in use. */
  get ends(): readonly CertificateEnd[] {
    return this.#ends
  }

  /** Why the files as they are now are not in use; undefined when they are. */
  get broken(): string | undefined {
    return this.#broken
  }

  /** @throws with the file and the cause when what is there cannot be used */
  read(): TlsOptions {
    const cert = pem(this.#cert)
    const key = pem(this.#key)
    const clientCa = this.#clientCa === undefined ? undefined : pem(this.#clientCa)
    const options: TlsOptions = { cert, key, clientCa }
    try {
      createSecureContext(tlsServerOptions(options))
    } catch (cause) {
      throw new Error(`${this.#cert.path} and ${this.#key.path} are no certificate with its key: ${messageOf(cause)}`, {
        cause,
      })
    }
    this.#ends = [
      { what: 'certificate', expiresMs: endOf(this.#cert.path, cert, 'first') },
      ...(this.#clientCa === undefined || clientCa === undefined
        ? []
        : [{ what: 'client-ca' as const, expiresMs: endOf(this.#clientCa.path, clientCa, 'last') }]),
    ]
    this.#broken = undefined
    return options
  }

  /** Reads again what has changed.
   *  @param apply takes what is new into use */
  look(apply: (options: TlsOptions) => void, logger: Logger): void {
    if (![this.#cert, this.#key, this.#clientCa].some((file) => file?.hasChanged)) return
    try {
      apply(this.read())
      logger.info({ ends: this.#ends }, 'certificates were read anew')
    } catch (cause) {
      this.#broken = messageOf(cause)
      logger.error({ err: cause }, 'new certificates cannot be used: those before stay in use')
    }
  }

  /** Looks now and then until `close`. */
  start(apply: (options: TlsOptions) => void, clock: Clock, logger: Logger): void {
    this.#cancel = clock.after(LOOK_EVERY_MS, () => {
      this.look(apply, logger)
      this.start(apply, clock, logger)
    })
  }

  close(): void {
    this.#cancel()
  }
}

/** chosen: the last of the notices of what ends */
const EXPIRING_MS = 7 * 86_400_000

/** Which certificates have ended: why a service is not ready. */
export const certificateReasons = (tls: TlsFiles | undefined, nowMs: number): ReadinessReason[] =>
  (tls?.ends ?? [])
    .filter(({ expiresMs }) => expiresMs <= nowMs)
    .map(({ what, expiresMs }) => ({ code: 'certificate-expired', detail: `the ${what} ended ${iso(expiresMs)}` }))

/** Which certificates end soon, and which cannot be used: what is a reason later. */
export function certificateWarnings(tls: TlsFiles | undefined, nowMs: number): ReadinessReason[] {
  const broken = tls?.broken
  const soon = (tls?.ends ?? []).filter(({ expiresMs }) => expiresMs > nowMs && expiresMs - nowMs < EXPIRING_MS)
  return [
    ...(broken === undefined
      ? []
      : [{ code: 'certificate-unusable' as const, detail: `the old one is in use: ${broken}` }]),
    ...soon.map(({ what, expiresMs }) => ({
      code: 'certificate-expiring' as const,
      detail: `the ${what} ends ${iso(expiresMs)}`,
    })),
  ]
}

/** Of what comes from a file: not every number is a date. */
export const iso = (ms: number): string =>
  Number.isFinite(ms) && Math.abs(ms) < 8.64e15 ? new Date(ms).toISOString() : 'long ago'

function pem(file: WatchedFile): Buffer {
  try {
    return file.read()
  } catch (cause) {
    throw new Error(`${file.path}: ${messageOf(cause)}`, { cause })
  }
}

/** Of a server's chain the first certificate is its own; of authorities the one that lasts longest says until when devices get in. */
function endOf(path: string, content: Buffer, which: 'first' | 'last'): number {
  const blocks = content.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  let ends: number[]
  try {
    ends = blocks.map((block) => Date.parse(new X509Certificate(block).validTo))
  } catch (cause) {
    throw new Error(`${path} holds something that is no certificate: ${messageOf(cause)}`, { cause })
  }
  const [first] = ends
  if (first === undefined) throw new Error(`${path} holds no certificate`)
  return which === 'first' ? first : Math.max(...ends)
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
