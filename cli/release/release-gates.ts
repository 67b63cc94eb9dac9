import type { ReleaseGates } from '../../cloud/registry/registry.ts'
import type { CloudApi } from '../cloud-api.ts'
import { apiOf, type CloudFlags } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'
import type { ModelView } from './model-view.ts'

export interface ShowFlags extends CloudFlags {
  readonly json?: boolean
}

export interface ApproveFlags extends CloudFlags {
  readonly reason: string
  readonly sha256?: string
}

export interface RiskFlags extends CloudFlags {
  readonly atLeast: string
  readonly reason: string
}

const REFERENCE = /^([a-z0-9][a-z0-9-]*)(?:@(\d{1,10}))?$/

function referenceOf(text: string): { readonly name: string; readonly version: number | undefined } {
  const [, name, version] = REFERENCE.exec(text) ?? []
  if (name === undefined)
    throw new CommandFailure(`"${text}" is no NAME@VERSION`, { hint: 'for example kws-2@2', exitCode: 2 })
  return { name, version: version === undefined ? undefined : Number(version) }
}

/** `kinglet release show NAME[@VERSION]` */
export async function showRelease(text: string, { json, ...flags }: ShowFlags): Promise<void> {
  const { name, version } = referenceOf(text)
  const found = await gatesOf(apiOf(flags), name, version)
  if (found === undefined)
    throw new CommandFailure(`there is no release ${text}`, { hint: '"release list" shows them' })
  const { release, gates } = found
  if (json === true) {
    console.log(JSON.stringify({ ...release, ...gates }))
    return
  }
  console.log(`${release.name} ${release.version}  ${release.family}  ${release.state}  sha256 ${release.sha256}`)
  print(gates)
}

/** What a release lacks, a line each. @param version the newest when it is left out */
export async function lackLines(api: CloudApi, name: string, version: number | undefined): Promise<readonly string[]> {
  const { lacks = [] } = (await gatesOf(api, name, version))?.gates ?? {}
  return lacks.map(({ lacks: what, how }) => `  lacks ${what}: ${how}`)
}

async function gatesOf(
  api: CloudApi,
  name: string,
  version: number | undefined,
): Promise<{ readonly release: ModelView; readonly gates: ReleaseGates } | undefined> {
  const { models } = await api.get<{ models: ModelView[] }>('/v1/models')
  const all = models.filter((each) => each.name === name && (version === undefined || each.version === version))
  const [release] = all.sort((a, b) => b.version - a.version)
  if (release === undefined) return undefined
  return { release, gates: await api.get<ReleaseGates>(`/v1/models/${name}/${release.version}/gates`) }
}

/** `kinglet release approve NAME@VERSION` */
export async function approveRelease(text: string, { reason, sha256, ...flags }: ApproveFlags): Promise<void> {
  const { name, version } = referenceOf(text)
  // The newest may be another by now than the one that was looked at.
  if (version === undefined) throw new CommandFailure(`${text}: which version? NAME@VERSION`, { exitCode: 2 })
  const wish = { reason, version, ...(sha256 !== undefined && { sha256 }) }
  const gates = await apiOf(flags).post<ReleaseGates & { sha256: string }>(`/v1/models/${name}/approve`, wish)
  console.log(`${name} ${version} is approved, sha256 ${gates.sha256}`)
  print(gates)
}

/** `kinglet release risk FAMILY` */
export async function setFamilyRisk(family: string, { atLeast, reason, ...flags }: RiskFlags): Promise<void> {
  await apiOf(flags).put(`/v1/families/${family}/risk`, { risk: atLeast, reason })
  console.log(`releases of family ${family} are of ${atLeast} risk at least`)
}

function print({ risk, needed, approvals, lacks }: ReleaseGates): void {
  console.log(`  ${risk} risk, ${approvals.length} of ${needed} approvals`)
  for (const { by, atMs, reason } of approvals)
    console.log(`  approved by ${by} ${new Date(atMs).toISOString()}: ${reason}`)
  for (const { lacks: what, how } of lacks) console.log(`  lacks ${what}: ${how}`)
  if (lacks.length === 0) console.log('  nothing stands in its way')
}
