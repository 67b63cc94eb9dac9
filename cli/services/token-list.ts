import { apiOf, type CloudFlags } from '../cloud-option.ts'

interface TokenRow {
  readonly jti: string
  readonly role: string
  readonly subject: string
  readonly issuedMs: number
  readonly expiresMs: number
  readonly revokedMs: number | null
  readonly parentSubject: string | null
}

export interface ListFlags extends CloudFlags {
  readonly all?: boolean
  readonly json?: boolean
}

/** `kinglet token list` */
export async function listTokens({ all, json, ...flags }: ListFlags): Promise<void> {
  const api = apiOf(flags)
  const rows: TokenRow[] = []
  let nowMs = 0
  for (let after: string | null = ''; after !== null; ) {
    const page: { atMs: number; tokens: TokenRow[]; next: string | null } = await api.get(
      `/v1/tokens?after=${encodeURIComponent(after)}`,
    )
    nowMs = page.atMs
    rows.push(...page.tokens)
    after = page.next
  }
  const isGood = ({ expiresMs, revokedMs }: TokenRow) => revokedMs === null && expiresMs > nowMs
  const shown = rows.filter((row) => all === true || isGood(row))
  shown.sort((a, b) => a.subject.localeCompare(b.subject) || a.issuedMs - b.issuedMs)
  for (const row of shown) {
    const { jti, role, subject, issuedMs, expiresMs, revokedMs, parentSubject } = row
    const end = `until ${dayOf(expiresMs)}`
    const state =
      revokedMs !== null ? `REVOKED ${dayOf(revokedMs)}` : expiresMs > nowMs ? end : `ended ${dayOf(expiresMs)}`
    const line = `${jti}  ${role}  ${subject}  from ${dayOf(issuedMs)}  ${state}  by ${parentSubject ?? 'the cloud'}`
    console.log(json === true ? JSON.stringify(row) : line)
  }
}

const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace('T', ' ')
