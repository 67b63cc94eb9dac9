import { parseDeviceQuery } from '../../contract/device-query.ts'
import { apiOf, type CloudFlags } from '../cloud-option.ts'
import { listDevices } from '../device/device-fleet.ts'
import { CommandFailure } from '../failure.ts'

interface Group {
  readonly name: string
  readonly query: string
  readonly changedMs: number
  readonly by: string
}

const pathOf = (name: string): string => `/v1/groups/${encodeURIComponent(name)}`

/** `kinglet group set` */
export async function setGroup(name: string, query: string, flags: CloudFlags & { reason: string }): Promise<void> {
  const parsed = parseDeviceQuery(query)
  if (!parsed.ok) throw new CommandFailure(parsed.error.detail, { exitCode: 2 })
  const group = await apiOf(flags).put<Group>(pathOf(name), { query, reason: flags.reason })
  console.log(`${group.name}: ${group.query}; devices that it chooses now:`)
  await listDevices(`group:${group.name}`, { cloud: flags.cloud, tokenFile: flags.tokenFile, count: true })
}

/** `kinglet group list` */
export async function listGroups({ json, ...flags }: CloudFlags & { json?: boolean }): Promise<void> {
  const { groups } = await apiOf(flags).get<{ groups: readonly Group[] }>('/v1/groups')
  for (const group of groups) {
    const { name, query, changedMs, by } = group
    console.log(json ? JSON.stringify(group) : `${name}  ${query}  by ${by}, ${new Date(changedMs).toISOString()}`)
  }
}

/** `kinglet group remove` */
export async function removeGroup(name: string, flags: CloudFlags): Promise<void> {
  const { query } = await apiOf(flags).delete<Group>(pathOf(name))
  console.log(`${name} is forgotten; it was ${query}`)
}
