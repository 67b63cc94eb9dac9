import type { Clock } from '../contract/clock.ts'
import { DiskProbe } from '../platform/disk-probe.ts'
import { type Readiness, type ReadinessReason, readinessOf } from '../platform/readiness.ts'
import { certificateReasons, certificateWarnings, iso, type TlsFiles } from '../platform/tls-files.ts'
import type { CloudContact } from './cloud-link/cloud-contact.ts'
import type { CloudToken } from './cloud-link/keyed-token.ts'
import type { MetadataCache } from './downloads/metadata-cache.ts'
import type { WatchedEngine } from './verifier-watch.ts'

const HOUR_MS = 3_600_000

interface Parts {
  readonly clock: Clock
  readonly dataDir: string
  readonly token: CloudToken
  readonly contact: CloudContact
  readonly tls: TlsFiles | undefined
  readonly engine: WatchedEngine | undefined
  readonly metadata: Pick<MetadataCache, 'ends'>
  /** why the gateway's clock is not believed, as far as somebody judges that; undefined when it is */
  readonly clockTrouble?: () => string | undefined
}

/** Something that ends, by what the metric `kinglet_expiry_seconds` calls it. */
interface End {
  readonly what: string
  /** Unix ms */
  readonly expiresMs: number
}

/** Whether the gateway can do what it is there for, and why not. A gateway that is not ready goes on: devices are served as far as that goes. */
export class GatewayReadiness {
  readonly #parts: Parts
  readonly #disk: DiskProbe

  constructor(parts: Parts) {
    this.#parts = parts
    this.#disk = new DiskProbe(parts.dataDir, parts.clock)
  }

  /** Everything that ends and when. */
  ends(): readonly End[] {
    const { token, tls, metadata } = this.#parts
    const { expiresMs } = token
    return [
      ...(expiresMs === undefined ? [] : [{ what: 'service-token', expiresMs }]),
      ...(tls?.ends ?? []),
      ...metadata.ends.map(({ role, expiresMs }) => ({ what: role, expiresMs })),
    ]
  }

  async look(): Promise<Readiness> {
    const { engine, clockTrouble, tls } = this.#parts
    const nowMs = this.#parts.clock.wallMs()
    const verifier = engine?.trouble
    const clock = clockTrouble?.()
    return readinessOf(
      [
        await this.#disk.look(),
        ...this.#token(),
        ...certificateReasons(tls, nowMs),
        ...this.#metadata(),
        verifier === undefined ? undefined : { code: 'verifier-dead', detail: `wakes are not judged: ${verifier}` },
        this.#cloud(),
        clock === undefined ? undefined : { code: 'clock-not-believed', detail: clock },
      ],
      [...this.#tokenWarnings(), ...certificateWarnings(tls, nowMs)],
    )
  }

  #leftMs(expiresMs: number): number {
    return expiresMs - this.#parts.clock.wallMs()
  }

  #token(): (ReadinessReason | undefined)[] {
    const { token, contact } = this.#parts
    const { expiresMs } = token
    const advice =
      '"kinglet gateway show" says whether it is enrolled; a token file is read again when it changes, a key asks by itself'
    if (expiresMs !== undefined && this.#leftMs(expiresMs) <= 0) {
      return [{ code: 'token-expired', detail: `the service token ended ${iso(expiresMs)}: ${advice}` }]
    }
    return contact.isRefused
      ? [{ code: 'token-refused', detail: `the cloud does not take the service token: ${advice}` }]
      : []
  }

  #tokenWarnings(): (ReadinessReason | undefined)[] {
    const { token, clock } = this.#parts
    const { expiresMs } = token
    if (expiresMs === undefined || this.#leftMs(expiresMs) <= 0 || !token.isOverdue(clock.wallMs())) return []
    return [{ code: 'token-expiring', detail: `the service token ends ${iso(expiresMs)} and could not be renewed yet` }]
  }

  #metadata(): (ReadinessReason | undefined)[] {
    return this.#parts.metadata.ends
      .filter(({ expiresMs }) => this.#leftMs(expiresMs) <= 0)
      .map(({ role, expiresMs }) => ({
        code: role === 'root' || role === 'snapshot' || role === 'timestamp' ? `${role}-expired` : 'targets-expired',
        detail: `${role} of the image repository ended ${iso(expiresMs)}: devices take no update`,
      }))
  }

  #cloud(): ReadinessReason | undefined {
    const silentMs = this.#parts.contact.silentForMs
    if (silentMs === undefined) return undefined
    const hours = silentMs / HOUR_MS
    const words = hours < 2 ? `${Math.round(hours * 60)} min` : `${Math.round(hours)} h`
    return { code: 'cloud-unreachable', detail: `the cloud has not answered for ${words}; what comes is kept on disk` }
  }
}
