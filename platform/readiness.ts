/** Why a service is not ready, or is soon not to be; codes are stable, for whoever reads them by machine. */
export const READINESS_CODES = [
  'disk-full',
  'disk-unwritable',
  'database-unreadable',
  'token-expired',
  'token-expiring',
  'token-refused',
  'token-key-replaced',
  'root-expired',
  'targets-expired',
  'snapshot-expired',
  'timestamp-expired',
  'metadata-expiring',
  'certificate-expired',
  'certificate-expiring',
  'certificate-unusable',
  'verifier-dead',
  'cloud-unreachable',
  'clock-not-believed',
] as const
export type ReadinessCode = (typeof READINESS_CODES)[number]

export interface ReadinessReason {
  readonly code: ReadinessCode
  /** one sentence: what, since or until when, and what to do */
  readonly detail: string
}

/** What `GET /readyz` says. */
export interface Readiness {
  readonly ready: boolean
  /** why not */
  readonly reasons: readonly ReadinessReason[]
  /** what will be a reason if nobody does anything */
  readonly warnings: readonly ReadinessReason[]
}

/** @param reasons in the order in which they are to be read; undefined where all is well */
export function readinessOf(
  reasons: readonly (ReadinessReason | undefined)[],
  warnings: readonly (ReadinessReason | undefined)[],
): Readiness {
  const those = reasons.filter((reason) => reason !== undefined)
  return { ready: those.length === 0, reasons: those, warnings: warnings.filter((warning) => warning !== undefined) }
}
