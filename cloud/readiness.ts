import type { Clock } from '../contract/clock.ts'
import { DiskProbe } from '../platform/disk-probe.ts'
import { type Readiness, type ReadinessReason, readinessOf } from '../platform/readiness.ts'
import { certificateReasons, certificateWarnings, type TlsFiles } from '../platform/tls-files.ts'
import type { Store } from './store/store.ts'
import { type Expiries, type Expiry, NOTICE_DAYS } from './trust/expiries.ts'

const DAY_MS = 86_400_000

/** Whether the cloud can do what it is there for, and why not. */
export class CloudReadiness {
  readonly #store: Store
  readonly #clock: Clock
  readonly #expiries: Pick<Expiries, 'list'>
  readonly #disk: DiskProbe
  readonly #isSeedInUse: () => boolean
  readonly #tls: TlsFiles | undefined

  constructor(parts: {
    readonly store: Store
    readonly clock: Clock
    readonly expiries: Pick<Expiries, 'list'>
    readonly dataDir: string
    /** whether the seed of tokens on disk is the one in use */
    readonly isSeedInUse: () => boolean
    readonly tls?: TlsFiles | undefined
  }) {
    this.#tls = parts.tls
    this.#isSeedInUse = parts.isSeedInUse
    this.#store = parts.store
    this.#clock = parts.clock
    this.#expiries = parts.expiries
    this.#disk = new DiskProbe(parts.dataDir, parts.clock)
  }

  async look(): Promise<Readiness> {
    const disk = await this.#disk.look()
    try {
      const ends = this.#expiries.list()
      // Tokens are others' business: an alert tells of them.
      const own = ends.filter(({ what }) => !what.startsWith('token:'))
      const now = this.#clock.wallMs()
      this.#store.db.prepare('SELECT 1').get()
      return readinessOf(
        [disk, ...certificateReasons(this.#tls, now), ...own.filter(({ expiresMs }) => expiresMs <= now).map(expired)],
        [
          this.#isSeedInUse() ? undefined : SEED_REPLACED,
          ...certificateWarnings(this.#tls, now),
          ...own.filter((end) => isSoon(end, now)).map(expiring),
        ],
      )
    } catch (cause) {
      const detail = `the database does not answer: ${cause instanceof Error ? cause.message : String(cause)}`
      return readinessOf([disk, { code: 'database-unreadable', detail }], [])
    }
  }
}

const SEED_REPLACED: ReadinessReason = {
  code: 'token-key-replaced',
  detail:
    'keys/tokens.seed is not the one in use: SIGHUP or a restart takes it; until then tokens of the former one are good',
}

const isSoon = ({ expiresMs, noticesMs }: Expiry, now: number): boolean =>
  expiresMs > now && noticesMs.some((ms) => expiresMs - now <= Math.min(ms, (NOTICE_DAYS.at(-1) ?? 0) * DAY_MS))

const expired = ({ what, expiresMs }: Expiry): ReadinessReason => ({
  code: what === 'root' || what === 'snapshot' || what === 'timestamp' ? `${what}-expired` : 'targets-expired',
  detail: `${what} of the image repository ended ${new Date(expiresMs).toISOString()}: devices take no update; ${remedy(what)}`,
})

const expiring = ({ what, expiresMs }: Expiry): ReadinessReason => ({
  code: 'metadata-expiring',
  detail: `${what} of the image repository ends ${new Date(expiresMs).toISOString()}; ${remedy(what)}`,
})

const remedy = (what: string): string =>
  what === 'snapshot' || what === 'timestamp'
    ? 'the cloud makes it anew by itself, and its log says why it does not'
    : '"kinglet keys renew" makes it anew'
