/** Every error code that crosses a wire, a flash boundary or the HTTP API. Kebab-case, stable: renaming one is a breaking change. */
export const ERROR_CODES = [
  // decoding
  'too-large',
  'malformed',
  'unknown-schema-version',
  'unknown-field',
  // identity and topics
  'bad-topic',
  'not-authorized',
  'token-expired',
  'token-invalid',
  // bundle container
  'bundle-bad-magic',
  'bundle-truncated',
  'bundle-bad-toc',
  'bundle-bad-section',
  'bundle-section-hash',
  'bundle-bad-manifest',
  // trust
  'bad-signature',
  'unknown-key',
  'expired',
  'replayed',
  'wrong-device',
  'wrong-board',
  'contradicts-release',
  'security-counter-too-low',
  'hash-mismatch',
  'size-mismatch',
  // budgets
  'arena-over-budget',
  'flash-over-budget',
  'energy-over-budget',
  'unsupported-features',
  'unsupported-engine',
  // download and install
  'download-truncated',
  'download-stalled',
  'artifact-not-found',
  'flash-full',
  'flash-write-failed',
  'model-load-failed',
  'golden-mismatch',
  'trial-failed',
  'no-fallback-slot',
  'penalized',
  // service
  'rate-limited',
  'unavailable',
  'not-found',
  'conflict',
  'invalid-request',
  'internal',
] as const

export type ErrorCode = (typeof ERROR_CODES)[number]

/** An expected failure at a boundary: a stable code and one sentence for people that names cause and values. */
export interface ContractError {
  readonly code: ErrorCode
  readonly detail: string
}

export const contractError = (code: ErrorCode, detail: string): ContractError => ({ code, detail })
