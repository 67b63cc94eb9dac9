import { apiOf, type CloudFlags } from '../cloud-option.ts'

interface GatewayRow {
  readonly name: string
  readonly lastMs: number
  readonly rows: number
  readonly sites: readonly string[]
  readonly silent: boolean
}

/** `kinglet gateway list` */
export async function listGateways(flags: CloudFlags & { json?: boolean }): Promise<void> {
  const api = apiOf(flags)
  let after: string | null = ''
  while (after !== null) {
    const page: { gateways: GatewayRow[]; next: string | null } = await api.get(
      `/v1/gateways?after=${encodeURIComponent(after)}`,
    )
    for (const row of page.gateways) {
      const health = row.silent ? 'SILENT' : 'ok'
      const line = `${row.name}  ${health}  last heard ${new Date(row.lastMs).toISOString().slice(0, 19)}  ${row.rows} rows  ${row.sites.join(', ')}`
      console.log(flags.json ? JSON.stringify(row) : line)
    }
    after = page.next
  }
}
