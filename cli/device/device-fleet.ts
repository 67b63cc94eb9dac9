import { parseDeviceQuery } from '../../contract/device-query.ts'
import { apiOf, type CloudFlags } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'

interface Latest {
  readonly modelName: string | null
  readonly model: string
  readonly atMs: number
  readonly level: string
  readonly batteryPermille: number
  readonly acceptedSeq: number
}

interface DeviceRow {
  readonly name: string
  readonly site: string
  readonly board: string
  readonly family: string
  readonly tags: readonly string[]
  readonly enrolledMs: number | null
  readonly removedMs: number | null
  readonly revokedMs: number | null
  readonly lastSeenMs: number
  readonly key: { readonly keyId: string } | null
  readonly target: { readonly name: string; readonly version: number } | null
  readonly assignmentSeq: number
  readonly updateWindow: string | null
  readonly rollout: { readonly id: string; readonly stage: number; readonly arm: string } | null
  readonly latest: Latest | null
}

interface DeviceDetail extends DeviceRow {
  readonly notUpdating: { readonly code: string; readonly words: string } | null
}

interface EventRow {
  readonly device: string
  readonly atMs: number
  readonly code: string
  readonly model: string | null
  readonly modelName: string | null
  readonly error: string | null
  readonly detail: string | null
  readonly attested: boolean | null
}

interface EventPage {
  readonly events: readonly EventRow[]
  readonly next: string | null
}

export interface ListFlags extends CloudFlags {
  readonly json?: boolean
  readonly csv?: boolean
  readonly count?: boolean
  readonly site?: string
  readonly board?: string
  readonly family?: string
  readonly model?: string
  readonly tag?: string
  /** hours */
  readonly silent?: number
}

/** How long ago, in the largest unit that says something. */
function ago(ms: number): string {
  const minutes = Math.max(0, Math.floor(ms / 60_000))
  if (minutes < 120) return `${minutes} min ago`
  return minutes < 2 * 1_440 ? `${Math.floor(minutes / 60)} h ago` : `${Math.floor(minutes / 1_440)} d ago`
}

const heard = (row: DeviceRow, nowMs: number): string =>
  row.lastSeenMs === 0 ? 'never heard' : ago(nowMs - row.lastSeenMs)

/** "kws-2", or the hash's beginning of an image that is no release here. */
const runs = (latest: Latest | null): string => (latest === null ? '-' : (latest.modelName ?? latest.model))

const keyWords = ({ key, revokedMs }: DeviceRow): string => {
  if (key !== null) return `key ${key.keyId.slice(0, 16)}`
  return revokedMs !== null ? 'revoked' : 'no key'
}

function lineOf(row: DeviceRow, nowMs: number): string {
  const { latest, target } = row
  const state = latest === null ? '-' : `${latest.level} ${Math.round(latest.batteryPermille / 10)} %`
  const wants = target === null ? 'no target' : `target ${target.name} ${target.version}`
  return [
    row.name,
    row.site,
    row.board,
    row.family,
    `runs ${runs(latest)}`,
    wants,
    heard(row, nowMs),
    state,
    keyWords(row),
  ].join('  ')
}

/** A field of a CSV. One that a spreadsheet would take for a formula begins with a quote. @see RFC 4180 section 2 */
function csvField(value: string | number): string {
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value)
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

const CSV_COLUMNS: readonly (readonly [string, (row: DeviceRow) => string | number])[] = [
  ['device', ({ name }) => name],
  ['site', ({ site }) => site],
  ['board', ({ board }) => board],
  ['family', ({ family }) => family],
  ['tags', ({ tags }) => tags.join(' ')],
  ['runs', ({ latest }) => (latest === null ? '' : runs(latest))],
  ['target', ({ target }) => target?.name ?? ''],
  ['rollout', ({ rollout }) => rollout?.id ?? ''],
  ['arm', ({ rollout }) => rollout?.arm ?? ''],
  ['heard', ({ lastSeenMs }) => (lastSeenMs === 0 ? '' : new Date(lastSeenMs).toISOString())],
  ['level', ({ latest }) => latest?.level ?? ''],
  ['battery_percent', ({ latest }) => (latest === null ? '' : latest.batteryPermille / 10)],
  ['key', ({ key }) => key?.keyId ?? ''],
]

/** Prints the devices that a query and the flags ask for. */
export async function listDevices(text: string, flags: ListFlags): Promise<void> {
  const query = parseDeviceQuery(text)
  if (!query.ok) throw new CommandFailure(query.error.detail, { exitCode: 2 })
  const api = apiOf(flags)
  const { site, board, family, model, tag, silent } = flags
  const wanted = { site, board, family, model, tag, silentHours: silent?.toString() }
  const parameters = new URLSearchParams(
    Object.entries(wanted).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
  if (text !== '') parameters.set('where', text)
  if (flags.csv && !flags.count) console.log(CSV_COLUMNS.map(([name]) => name).join(','))
  let count = 0
  for (let after: string | null = ''; after !== null; ) {
    parameters.set('after', after)
    const page: { atMs: number; devices: DeviceRow[]; next: string | null } = await api.get(`/v1/devices?${parameters}`)
    count += page.devices.length
    if (!flags.count) for (const row of page.devices) console.log(rowOf(row, page.atMs, flags))
    after = page.next
  }
  if (flags.count) console.log(flags.json ? JSON.stringify({ count }) : String(count))
}

function rowOf(row: DeviceRow, nowMs: number, { json, csv }: ListFlags): string {
  if (json) return JSON.stringify(row)
  return csv ? CSV_COLUMNS.map(([, of]) => csvField(of(row))).join(',') : lineOf(row, nowMs)
}

const timeOf = (ms: number): string => new Date(ms).toISOString().slice(0, 19)

const eventLine = (event: EventRow): string => {
  const about = event.model === null ? '' : `  ${event.modelName ?? event.model}`
  const why = [event.error, event.detail].filter((text) => text !== null).join(': ')
  const unsigned = event.attested === false ? '  (not signed by its key)' : ''
  return `${timeOf(event.atMs)}  ${event.code}${about}${why === '' ? '' : `  ${why}`}${unsigned}`
}

/** Prints all that is known of a device, and why it does not run another model. */
export async function showDevice(id: string, flags: CloudFlags & { json?: boolean }): Promise<void> {
  const api = apiOf(flags)
  const path = `/v1/devices/${encodeURIComponent(id)}`
  const row = await api.get<DeviceDetail>(path)
  const { events } = await api.get<EventPage>(`${path}/events?limit=10`)
  if (flags.json) {
    console.log(JSON.stringify({ ...row, events }))
    return
  }
  const { latest, target, rollout } = row
  const lines: [string, string][] = [
    ['device', `${row.name} at ${row.site}, ${row.board}${row.tags.length === 0 ? '' : `, ${row.tags.join(', ')}`}`],
    [
      'identity',
      `${keyWords(row)}, ${row.enrolledMs === null ? 'not enrolled' : `enrolled ${timeOf(row.enrolledMs)}`}`,
    ],
    ...(row.key === null && row.revokedMs === null
      ? [
          [
            '',
            'whoever has its token is this device, and what it runs is its gateway’s word; a claim gives it a key',
          ] as [string, string],
        ]
      : []),
    ['heard', row.lastSeenMs === 0 ? 'never' : timeOf(row.lastSeenMs)],
    [
      'runs',
      latest === null
        ? 'nothing that is known'
        : `${runs(latest)} at level ${latest.level}, ${Math.round(latest.batteryPermille / 10)} % of its battery`,
    ],
    ['family', row.family],
    ['target', target === null ? 'none' : `${target.name} ${target.version}`],
    ['assignment', `${row.assignmentSeq}, it has accepted ${latest?.acceptedSeq ?? 'none'}`],
    ['rollout', rollout === null ? 'none' : `${rollout.id}, stage ${rollout.stage}, ${rollout.arm}`],
    ['hours', row.updateWindow ?? 'any, or as the device is set up'],
    [
      'update',
      row.notUpdating === null ? 'it runs what it is to run' : `${row.notUpdating.words} (${row.notUpdating.code})`,
    ],
    ...events.map((event, i): [string, string] => [i === 0 ? 'events' : '', eventLine(event)]),
  ]
  for (const [name, words] of lines) console.log(`${name.padEnd(11)} ${words}`)
}

/** Prints events of a device, newest first. */
export async function listEvents(
  id: string,
  flags: CloudFlags & { json?: boolean; code?: string; limit: number },
): Promise<void> {
  const api = apiOf(flags)
  const query = new URLSearchParams({
    limit: String(Math.min(flags.limit, 1_000)),
    ...(flags.code && { code: flags.code }),
  })
  let left = flags.limit
  while (left > 0) {
    const page: EventPage = await api.get(`/v1/devices/${encodeURIComponent(id)}/events?${query}`)
    for (const event of page.events.slice(0, left)) console.log(flags.json ? JSON.stringify(event) : eventLine(event))
    left -= page.events.length
    if (page.next === null) return
    query.set('before', page.next)
  }
}
