import type { AuditEntry } from '../../contract/audit-chain.ts'
import type { CloudApi } from '../cloud-api.ts'
import { apiOf, type CloudFlags } from '../cloud-option.ts'

export interface ListFlags extends CloudFlags {
  readonly limit: number
  readonly actor?: string
  readonly action?: string
  readonly subject?: string
  readonly json?: boolean
}

/** Chosen: as many entries as the cloud gives at once. */
const PAGE = 1_000

/** All entries, newest first, page by page. */
export async function* auditEntries(api: CloudApi): AsyncGenerator<AuditEntry> {
  for (let before: number | null | undefined; before !== null; ) {
    const page: { entries: AuditEntry[]; next: number | null } = await api.get(
      `/v1/audit?limit=${PAGE}${before === undefined ? '' : `&before=${before}`}`,
    )
    yield* page.entries
    before = page.next
  }
}

/** `kinglet audit list` */
export async function listAudit({ limit, actor, action, subject, json, ...flags }: ListFlags): Promise<void> {
  let shown = 0
  for await (const entry of auditEntries(apiOf(flags))) {
    if (actor !== undefined && entry.actor !== actor) continue
    if (action !== undefined && !entry.action.startsWith(action)) continue
    if (subject !== undefined && entry.subject !== subject) continue
    console.log(json === true ? JSON.stringify(entry) : lineOf(entry))
    if (++shown >= limit) return
  }
}

function lineOf({ id, atMs, actor, action, subject, detail }: AuditEntry): string {
  const more = JSON.stringify(detail)
  const cut = more.length > 200 ? `${more.slice(0, 200)}…` : more
  return `${String(id).padStart(6)}  ${new Date(atMs).toISOString().slice(0, 19)}Z  ${actor}  ${action}  ${subject}  ${cut}`
}
