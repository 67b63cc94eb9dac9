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
  'claim-invalid',
  'claim-used',
  'claim-expired',
  'device-revoked',
  'gateway-unknown', // a token of a gateway that was never enrolled, or of one that has another key by now
  'gateway-revoked',
  // rows of a gateway that it may not send; the rest of its batch is taken
  'foreign-gateway', // a batch in the name of another gateway
  'foreign-site', // of a site that the gateway does not serve
  'foreign-device', // of a device that is enrolled at another site
  'unknown-device', // of a device that is not enrolled
  'implausible-time', // of an hour that has not begun yet
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
  'contradicts-repository', // an assignment that the image repository does not confirm
  'security-counter-too-low',
  'hash-mismatch',
  'size-mismatch',
  // update metadata (contract/tuf): each names the attack it stops
  'metadata-too-large', // endless data
  'metadata-malformed', // not the format, or hostile on purpose
  'metadata-signature', // arbitrary installation: nobody trusted has signed
  'metadata-threshold', // key compromise below the threshold
  'metadata-rollback', // an older version than one already trusted, or a role that has disappeared
  'metadata-version-mismatch', // mix and match: not the version that the role above names
  'metadata-hash-mismatch', // mix and match: not the bytes that the role above names
  'metadata-expired', // freeze
  'metadata-missing', // the repository does not have the file, or no role above names it
  'metadata-unavailable', // drop request: the file could not be fetched this time
  'root-not-consecutive', // a root that is not exactly the next version
  'target-unknown', // no role that may speak for the path knows it
  'target-path-unsafe', // a path that would leave its folder
  'delegation-too-deep', // endless delegations
  // budgets
  'arena-over-budget',
  'flash-over-budget',
  'energy-over-budget',
  'latency-over-budget', // an inference would not end within its hop
  'unsupported-features',
  'unsupported-engine',
  // patches
  'patch-malformed', // not the format, or hostile on purpose
  'patch-truncated',
  'wrong-base', // wrong precursor: made for another image than the one that is here
  // download and install
  'download-truncated',
  'download-stalled',
  'block-damaged', // its check does not hold, however often it is asked for
  'outside-window', // a download that waits for its hours
  'low-battery', // a download that waits for charge
  'artifact-not-found',
  'flash-full',
  'flash-write-failed',
  'model-load-failed',
  'inference-failed', // a graph that was loaded failed in a run
  'golden-mismatch',
  'trial-failed',
  'no-fallback-slot',
  'penalized',
  // service
  'rate-limited',
  'unavailable',
  'not-found',
  'conflict',
  'precondition-failed', // of another state than the request was made for
  'idempotency-key-reused', // by another request than the first
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
