import { existsSync } from 'node:fs'
import * as z from 'zod'
import { type AuditEntry, auditFault } from '../../contract/audit-chain.ts'
import { apiOf, type CloudFlags } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'
import { firstIssue, readJsonFile } from '../json-file.ts'
import { OutputFile } from '../output-file.ts'
import { ProgressLine } from '../progress-line.ts'
import { auditEntries } from './audit-list.ts'

export interface VerifyFlags extends CloudFlags {
  readonly checkpoint?: string
}

const checkpointSchema = z.strictObject({
  cloud: z.string(),
  id: z.int().min(1),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
})
type Checkpoint = z.infer<typeof checkpointSchema>

/** Chosen: faults that are told one by one; whoever rewrote a whole log is not listed entry by entry. */
const FAULTS_TOLD = 10

/** `kinglet audit verify`: by the entries themselves, not by what the cloud says of them. */
export async function verifyAudit({ checkpoint: path, ...flags }: VerifyFlags): Promise<void> {
  const api = apiOf(flags)
  const known = path === undefined ? undefined : readCheckpoint(path, api.url)
  if (path !== undefined) OutputFile.check(path, true)
  const progress = new ProgressLine('verifying')
  const faults: string[] = []
  let [newest, later]: (AuditEntry | undefined)[] = []
  let count = 0
  let isKnownThere = known === undefined
  for await (const entry of auditEntries(api)) {
    newest ??= entry
    count++
    if (later !== undefined) note(faults, auditFault(later, entry))
    if (known !== undefined && entry.id === known.id) isKnownThere = entry.hash === known.hash
    later = entry
    progress.show(1 - (entry.id - 1) / newest.id)
  }
  progress.clear()
  if (newest === undefined || later === undefined) {
    throw new CommandFailure('the audit log is empty: a cloud writes into it from its first start')
  }
  note(faults, auditFault(later, undefined))
  if (known !== undefined && !isKnownThere) faults.push(beforeTheCheckpoint(known, newest, later))
  if (faults.length > 0) {
    const told = faults.slice(0, FAULTS_TOLD).reverse()
    const more = faults.length > told.length ? `\n(and ${faults.length - told.length} more)` : ''
    throw new CommandFailure(`the audit log is not whole: ${told.join('\n')}${more}`, {
      hint: 'keep the cloud’s folder as it is; a restored cloud goes on from its backup ("audit list --action cloud.restored")',
    })
  }
  const from = later.id === 1 ? 'from the first on' : `from ${later.id} on, older ones have gone by age`
  const to = known === undefined ? '' : `, and entry ${known.id} is what it was`
  console.log(`the audit log is whole: ${count} entries, ${from}, the last ${newest.id} ${newest.hash}${to}`)
  if (path === undefined) return
  const checkpoint: Checkpoint = { cloud: api.url, id: newest.id, hash: newest.hash }
  OutputFile.write(path, new TextEncoder().encode(`${JSON.stringify(checkpoint)}\n`), true)
}

function note(faults: string[], fault: string | undefined): void {
  if (fault !== undefined) faults.push(fault)
}

function beforeTheCheckpoint(known: Checkpoint, newest: AuditEntry, oldest: AuditEntry): string {
  if (known.id > newest.id) return `it ends at entry ${newest.id}, and had ${known.id}: its end was taken off`
  if (known.id < oldest.id)
    return `it begins at entry ${oldest.id}, and the checkpoint is of ${known.id}: it is too old`
  return `entry ${known.id} is another than it was: the log was written anew`
}

function readCheckpoint(path: string, cloud: string): Checkpoint | undefined {
  if (!existsSync(path)) return undefined
  const read = checkpointSchema.safeParse(readJsonFile(path))
  if (!read.success) throw new CommandFailure(`${path}: no checkpoint of an audit log: ${firstIssue(read.error)}`)
  if (read.data.cloud === cloud) return read.data
  throw new CommandFailure(`${path} is of ${read.data.cloud}, not of ${cloud}`, { hint: 'each cloud has its own' })
}
