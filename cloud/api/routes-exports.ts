import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { parseDeviceQuery } from '../../contract/device-query.ts'
import { gateWords } from '../rollout/gate-words.ts'
import type { ExportPage, ExportRow } from '../store/export-store.ts'
import type { GateReading } from '../store/gate-reading.ts'
import type { CloudApp, CloudEnv, CloudServices } from './environment.ts'
import { EXPORT_TYPES, exportStream } from './export-text.ts'
import { fail, integerQuery, unwrap } from './problem.ts'
import * as schemas from './schemas.ts'
import { deviceView, latestView, modelNames } from './views.ts'

/** chosen: of devices, each of which takes several queries */
const PAGE_DEVICES = 100
/** Chosen: each holds a socket and a page; somebody who reads none of his is in nobody's way. */
const OWN_EXPORTS_MAX = 2
const EXPORTS_MAX = 16

const COLUMNS = {
  devices: [
    ...['device', 'site', 'board', 'family', 'tags', 'enrolled_ms', 'last_seen_ms', 'key_id', 'revoked_ms', 'pinned'],
    ...['target', 'target_version', 'rollout', 'stage', 'arm', 'running', 'level', 'battery_permille', 'report_ms'],
  ],
  hours: [
    ...['device', 'site', 'board', 'boot', 'slot', 'hour_ms', 'model_prefix', 'model', 'uptime_ms', 'listening_ms'],
    ...['active_ms', 'wakes', 'gate_openings', 'energy_mj', 'radio_bytes', 'overruns', 'inferences', 'inference_ms'],
  ],
  verdicts: ['rollout', 'family', 'model', 'version', 'at_ms', 'verdict', 'words'],
  audit: ['id', 'at_ms', 'actor', 'action', 'subject', 'detail', 'prev', 'hash'],
} as const

/** The fleet as tables, for other programs. */
export function exportRoutes(app: CloudApp, services: CloudServices): void {
  const { store, clock } = services
  /** under way, by whose they are */
  const open = new Map<string, number>()

  const spanOf = (c: Context<CloudEnv>) => ({
    fromMs: integerQuery(c, 'fromMs', 0, 0, Number.MAX_SAFE_INTEGER),
    untilMs: integerQuery(c, 'untilMs', Number.MAX_SAFE_INTEGER, 0, Number.MAX_SAFE_INTEGER),
  })
  const conditionOf = (c: Context<CloudEnv>) =>
    unwrap(store.groups.condition(unwrap(parseDeviceQuery(c.req.query('where') ?? '')), clock.wallMs()))

  /** How each is read, with what its query says checked once and before the first byte. */
  const readers: Readonly<Record<keyof typeof COLUMNS, (c: Context<CloudEnv>) => (after: string) => ExportPage>> = {
    devices(c) {
      const condition = conditionOf(c)
      return (after) => {
        const { devices, next } = store.devices.page(PAGE_DEVICES, after, condition)
        const names = modelNames(store)
        return { rows: devices.map((device) => deviceRow(services, device, names)), next }
      }
    },
    hours(c) {
      const [span, condition] = [spanOf(c), conditionOf(c)]
      return (after) => {
        const { rows, next } = store.exports.hours(after, span, condition)
        const names = modelNames(store)
        return { rows: rows.map((row) => ({ ...row, model: names.get(String(row.model_prefix)) ?? null })), next }
      }
    },
    verdicts(c) {
      const [span, rollout] = [spanOf(c), c.req.query('rollout') ?? null]
      if (rollout !== null && store.rollouts.get(rollout) === undefined) fail('not-found', `no rollout "${rollout}"`)
      return (after) => {
        const { rows, next } = store.exports.verdicts(after, span, rollout)
        const told = ({ reading, ...row }: ExportRow) => ({
          ...row,
          words: gateWords(JSON.parse(String(reading)) as GateReading),
        })
        return { rows: rows.map(told), next }
      }
    },
    audit(c) {
      const span = spanOf(c)
      return (after) => store.exports.audit(after, span)
    },
  }

  const inTime = { fromMs: z.string().optional(), untilMs: z.string().optional() }
  const where = { where: z.string().optional().openapi({ description: 'A query of devices, such as `site:berlin`' }) }
  const format = {
    format: z
      .enum(['ndjson', 'csv'])
      .optional()
      .openapi({ description: 'JSON lines (default), or CSV as RFC 4180 has it' }),
  }
  const queries = {
    devices: z.object({ ...format, ...where }),
    hours: z.object({ ...format, ...where, ...inTime }),
    verdicts: z.object({ ...format, ...inTime, rollout: schemas.name.optional() }),
    audit: z.object({ ...format, ...inTime }),
  } as const
  const summaries = {
    devices: 'All devices that a query chooses, by name, as a stream',
    hours: 'Hours of the devices that a query chooses, by device and boot, as a stream',
    verdicts: 'What gates said, by rollout and time, as a stream',
    audit: 'The audit log, oldest first, as a stream',
  } as const
  for (const what of ['devices', 'hours', 'verdicts', 'audit'] as const) {
    app.openAPIRegistry.registerPath({
      method: 'get',
      path: `/v1/export/${what}`,
      summary: summaries[what],
      request: { query: queries[what] },
      responses: {
        200: {
          description: 'Rows; a stream that ends early was cut',
          content: { ...schemas.content('application/x-ndjson'), ...schemas.content('text/csv') },
        },
        ...schemas.problems,
      },
    })
    app.get(`/v1/export/${what}`, (c) => {
      const query = queries[what].safeParse(c.req.query())
      if (!query.success) {
        const issue = query.error.issues[0]
        return fail('invalid-request', `${issue?.path.join('.') ?? 'query'}: ${issue?.message ?? 'invalid'}`)
      }
      const chosen = query.data.format ?? 'ndjson'
      const read = readers[what](c)
      const headers = { 'content-type': EXPORT_TYPES[chosen], 'cache-control': 'no-store' }
      if (c.req.method === 'HEAD') return new Response(null, { headers })
      const { subject } = c.get('principal')
      const own = open.get(subject) ?? 0
      if (own >= OWN_EXPORTS_MAX || open.size >= EXPORTS_MAX) {
        fail('unavailable', 'too many exports are under way', { 'retry-after': '30' })
      }
      open.set(subject, own + 1)
      const stream = exportStream(chosen, COLUMNS[what], read, () => {
        const left = (open.get(subject) ?? 1) - 1
        if (left === 0) open.delete(subject)
        else open.set(subject, left)
      })
      return new Response(stream, { headers })
    })
  }
}

function deviceRow(
  { store }: CloudServices,
  device: Parameters<typeof deviceView>[1],
  names: ReadonlyMap<string, string>,
): ExportRow {
  const view = deviceView(store, device)
  const latest = latestView(store, device.id, names)
  return {
    ...{ device: view.name, site: view.site, board: view.board, family: view.family, tags: view.tags.join(' ') },
    ...{ enrolled_ms: view.enrolledMs, last_seen_ms: view.lastSeenMs, key_id: view.key?.keyId ?? null },
    ...{ revoked_ms: view.revokedMs, pinned: view.pinned ? 1 : 0 },
    ...{ target: view.target?.name ?? null, target_version: view.target?.version ?? null },
    ...{ rollout: view.rollout?.id ?? null, stage: view.rollout?.stage ?? null, arm: view.rollout?.arm ?? null },
    ...{ running: latest === null ? null : (latest.modelName ?? latest.model), level: latest?.level ?? null },
    ...{ battery_permille: latest?.batteryPermille ?? null, report_ms: latest?.atMs ?? null },
  }
}
