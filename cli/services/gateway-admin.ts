import type { GatewayClaimFile } from '../../contract/enrolment.ts'
import { apiOf, type CloudFlags } from '../cloud-option.ts'
import { keepSecret } from '../secret-file.ts'

interface GatewayRow {
  readonly name: string
  readonly state: 'unenrolled' | 'active' | 'quarantined' | 'revoked'
  readonly keyId: string | null
  readonly lastMs: number
  readonly rows: number
  readonly refused: number
  readonly sites: readonly string[]
  readonly silent: boolean
}

export interface GatewayClaimFlags {
  readonly site: readonly string[]
  readonly ttlHours: number
  readonly replace?: boolean
  readonly out: string
}

/** `kinglet gateway list` */
export async function listGateways(flags: CloudFlags & { json?: boolean }): Promise<void> {
  const api = apiOf(flags)
  let after: string | null = ''
  while (after !== null) {
    const page: { gateways: GatewayRow[]; next: string | null } = await api.get(
      `/v1/gateways?after=${encodeURIComponent(after)}`,
    )
    for (const row of page.gateways) console.log(flags.json ? JSON.stringify(row) : lineOf(row))
    after = page.next
  }
}

function lineOf({ name, state, keyId, lastMs, rows, refused, sites, silent }: GatewayRow): string {
  const health = state !== 'active' ? state.toUpperCase() : silent ? 'SILENT' : 'ok'
  const heard = lastMs === 0 ? 'never heard' : `last heard ${new Date(lastMs).toISOString().slice(0, 19)}`
  const counts = `${rows} rows${refused > 0 ? `, ${refused} REFUSED` : ''}`
  const unkeyed = keyId === null && state !== 'unenrolled' ? '  no key' : ''
  return `${name}  ${health}  ${heard}  ${counts}  ${sites.join(', ')}${unkeyed}`
}

const pathOf = (name: string): string => `/v1/gateways/${encodeURIComponent(name)}`

/** `kinglet gateway show NAME` */
export async function showGateway(name: string, flags: CloudFlags): Promise<void> {
  console.log(JSON.stringify(await apiOf(flags).get(pathOf(name)), null, 2))
}

/** `kinglet gateway claim NAME` */
export async function claimGateway(name: string, flags: CloudFlags & GatewayClaimFlags): Promise<void> {
  const { site: sites, ttlHours, replace, out } = flags
  const wish = { gateway: name, sites, ttlSeconds: ttlHours * 3_600, replace }
  const claim = await keepSecret(
    out,
    () => apiOf(flags).post<GatewayClaimFile>('/v1/gateway-claims', wish),
    (made) => `${JSON.stringify(made, null, 2)}\n`,
  )
  const until = new Date(claim.expiresMs).toISOString()
  console.log(`${out}: claim for gateway ${claim.gateway} at ${claim.sites.join(', ')}, until ${until}`)
}

const DONE = {
  revoke: 'is revoked: the cloud takes nothing from it any more',
  quarantine: 'is in quarantine: nothing that it says is evidence until "kinglet gateway release"',
  release: 'is out of quarantine: what it said counts again',
} as const

/** `kinglet gateway revoke|quarantine|release NAME` */
export async function changeGateway(
  name: string,
  change: keyof typeof DONE,
  { reason, ...flags }: CloudFlags & { reason: string },
): Promise<void> {
  // Twice is once.
  await apiOf(flags).postAgain(`${pathOf(name)}/${change}`, { reason })
  console.log(`gateway ${name} ${DONE[change]}`)
}
