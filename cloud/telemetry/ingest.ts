import { type ContractError, contractError } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { type IngestBatch, ingestBatchSchema } from '../../contract/uplink.ts'

/** Parses an ingest body: size, then JSON, then version, then every field.
 *  @returns the batch, or `too-large` | `malformed` | `unknown-schema-version`
 */
export function parseIngest(body: Uint8Array): Result<IngestBatch, ContractError> {
  if (body.length > LIMITS.ingestBytes) {
    return err(contractError('too-large', `batch of ${body.length} bytes, limit ${LIMITS.ingestBytes}`))
  }
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    return err(contractError('malformed', 'the batch is not JSON'))
  }
  const version = (json as { v?: unknown } | null)?.v
  if (version !== 1) {
    return err(contractError('unknown-schema-version', `batch version ${String(version).slice(0, 20)}, known: 1`))
  }
  const parsed = ingestBatchSchema.safeParse(json)
  if (parsed.success) return ok(parsed.data)
  const issue = parsed.error.issues[0]
  return err(contractError('malformed', `batch.${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`))
}
