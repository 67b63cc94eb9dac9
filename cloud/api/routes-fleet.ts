import { createRoute, z } from '@hono/zod-openapi'
import { LIMITS } from '../../contract/limits.ts'
import { CLOUD_TIME_HEADER } from '../../contract/uplink.ts'
import type { FeedRecord } from '../store/assignment-store.ts'
import { admitRows, parseIngest } from '../telemetry/ingest.ts'
import { attestedBy } from '../trust/attestation.ts'
import { gatewayOf, ownSites } from './auth.ts'
import { bodyLimitOf } from './body-limit.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { noteOverreach } from './gateway-overreach.ts'
import { fail, integerQuery, unwrap } from './problem.ts'
import * as schemas from './schemas.ts'
import { familyView, seriesView, summaryView } from './views.ts'

/** chosen: a month of hours; a status page draws no more */
const SERIES_HOURS_MAX = 744
/** chosen: the contract's gateways ask for at most 25 s; clocks that run faster than real need more of their own seconds */
const WAIT_SECONDS_MAX = 3_600

/** chosen: what the contract's gateways ask for at most, of the socket; they give up at 40 s */
const SOCKET_WAIT_MS = 25_000
const sumOf = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((a, b) => a + b, 0)

/** What gateways send and fetch, and what the fleet's numbers are. */
export function fleetRoutes(app: CloudApp, services: CloudServices): void {
  const { store, clock, metrics } = services
  // What a gateway asks for anyway tells it whether its own clock can be right.
  const timeHeader = () => ({ [CLOUD_TIME_HEADER]: String(Math.round(clock.wallMs())) })

  const ingest = createRoute({
    method: 'post',
    path: '/v1/ingest',
    summary: 'Telemetry batch of a gateway; may be repeated at will',
    middleware: bodyLimitOf(LIMITS.ingestBytes),
    responses: schemas.answers(schemas.ingestResponse, 'Rows that changed something'),
  })
  app.openapi(ingest, async (c) => {
    const parsed = parseIngest(new Uint8Array(await c.req.arrayBuffer()))
    metrics.ingestBatches.inc({ outcome: parsed.ok ? 'accepted' : parsed.error.code })
    const sent = unwrap(parsed)
    const gateway = gatewayOf(services, c)
    if (sent.gateway !== gateway.name) {
      fail('foreign-gateway', `the batch is of ${sent.gateway}, the token of ${gateway.name}`)
    }
    const nowMs = clock.wallMs()
    // One transaction, and so one flush.
    const { outcome, admitted } = store.atomically(() => {
      const admitted = admitRows(store, gateway, sent, nowMs)
      const { batch, devices, suspicious, refused } = admitted
      const rows = [sent.reports, sent.verdicts, sent.events, sent.aggregates].reduce((n, { length }) => n + length, 0)
      store.gateways.heard(gateway.name, devices, rows, sumOf(refused), nowMs)
      if (suspicious > 0) noteOverreach(services, gateway.name, refused, nowMs)
      const outcome = store.telemetry.ingest(batch, attestedBy, nowMs)
      const { contradicted, beyond } = outcome
      // Also where its own rows are in order otherwise: what a device has signed is not its to change.
      if (contradicted + beyond > 0) noteOverreach(services, gateway.name, { contradicted, beyond }, nowMs)
      return { outcome, admitted }
    })
    if (admitted.ofRemoved > 0) metrics.ingestRows.inc({ kind: 'of-removed-devices' }, admitted.ofRemoved)
    for (const [code, count] of Object.entries(admitted.refused)) metrics.ingestRefused.inc({ code }, count)
    const { late, ...changed } = outcome
    for (const [kind, count] of Object.entries(changed)) metrics.ingestRows.inc({ kind }, count)
    metrics.ingestLateRows.inc(late)
    return c.json({ ...outcome, refused: admitted.refused }, 200, timeHeader())
  })

  const feed = createRoute({
    method: 'get',
    path: '/v1/assignments',
    summary: 'Assignments changed after a cursor; waits for one when there is none',
    request: {
      query: z.object({
        after: z.string().optional(),
        waitSeconds: z.string().optional(),
        /** of gateways of before, which then are told what to drop; the token says who asks */
        gateway: z.string().max(LIMITS.idLength).optional(),
        /** may be repeated: assignments of these sites only; default: of all that the gateway serves */
        site: z.union([schemas.id, z.array(schemas.id).max(LIMITS.gatewaySites)]).optional(),
      }),
    },
    responses: schemas.answers(schemas.feed, 'Newest assignment of each changed device'),
  })
  app.openapi(feed, async (c) => {
    const asked = integerQuery(c, 'after', 0, 0, LIMITS.counter)
    const asksToWait = integerQuery(c, 'waitSeconds', 0, 0, WAIT_SECONDS_MAX)
    // Headers are the same now and later.
    const waitSeconds = c.req.method === 'HEAD' ? 0 : asksToWait
    const { gateway, site } = c.req.valid('query')
    const own = ownSites(services, c)
    if (own !== undefined) services.contacts.heard(c.get('principal').subject)
    // A cursor from the future is of a store that was lost: that gateway has to hear everything again.
    const after = asked > store.assignments.newestCursor() ? 0 : asked
    const named = site === undefined ? undefined : [...new Set([site].flat())]
    const foreign = own === undefined ? undefined : named?.find((each) => !own.includes(each))
    if (foreign !== undefined) fail('foreign-site', `${foreign} is no site of ${c.get('principal').subject}`)
    const sites = named ?? own
    // Gateways of before give no name and do not know what to drop.
    const read = (): readonly FeedRecord[] =>
      gateway === undefined && sites === undefined
        ? store.assignments.after(after, LIMITS.ingestRows)
        : store.assignments.feed(after, LIMITS.ingestRows, sites)
    let rows = read()
    const untilMs = clock.monotonicMs() + waitSeconds * 1000
    // Whoever asks waits in real time, and the clock of a simulation may stand still.
    const signal = AbortSignal.any([c.req.raw.signal, AbortSignal.timeout(SOCKET_WAIT_MS)])
    // What has changed may be another site's.
    for (let leftMs = waitSeconds * 1000; rows.length === 0 && leftMs > 0; leftMs = untilMs - clock.monotonicMs()) {
      await services.assignmentsChanged.wait(leftMs, signal)
      rows = read()
      if (signal.aborted || sites === undefined) break
    }
    const items = rows.map(({ site, device, board, document }) => ({
      ...{ site, device, board },
      document: document === null ? null : (JSON.parse(document) as unknown),
    }))
    return c.json({ v: 1 as const, cursor: rows.at(-1)?.cursor ?? after, items }, 200, timeHeader())
  })

  const hours = { query: z.object({ hours: z.string().optional(), family: schemas.ofFamily }) }
  const summary = createRoute({
    method: 'get',
    path: '/v1/fleet/summary',
    summary: 'Figures of the last full hours, over the fleet or a family, and by model',
    request: hours,
    responses: schemas.answers(schemas.summary, 'Figures'),
  })
  app.openapi(summary, async (c) => {
    const hours = integerQuery(c, 'hours', 24, 1, SERIES_HOURS_MAX)
    const { family } = c.req.valid('query')
    const now = await services.fleetNow(family)
    return c.json(summaryView(store, clock.wallMs(), hours, family, now), 200)
  })

  const series = createRoute({
    method: 'get',
    path: '/v1/fleet/series',
    summary: 'Figures hour by hour, over the fleet or a family, and by model; the last point is the running hour',
    request: hours,
    responses: schemas.answers(schemas.series, 'Points, oldest first'),
  })
  app.openapi(series, (c) => {
    const hours = integerQuery(c, 'hours', 72, 1, SERIES_HOURS_MAX)
    return c.json(seriesView(store, clock.wallMs(), hours, c.req.valid('query').family), 200)
  })

  const families = createRoute({
    method: 'get',
    path: '/v1/families',
    summary: 'Model families: their production by board, open rollouts, and how many releases and devices they have',
    responses: schemas.answers(
      z.object({ families: z.array(schemas.family) }),
      'Families that have a release, by name',
    ),
  })
  app.openapi(families, (c) =>
    c.json({ families: store.models.families().map((family) => familyView(store, family)) }, 200),
  )

  const counters = createRoute({
    method: 'get',
    path: '/v1/fleet/counters',
    summary: 'Exact sums of every counter over all devices and boots',
    responses: schemas.answers(schemas.counters, 'Sums'),
  })
  app.openapi(counters, (c) => c.json(store.fleet.counters(), 200))

  const audit = createRoute({
    method: 'get',
    path: '/v1/audit',
    summary: 'Who did what, when and why, newest first',
    request: { query: schemas.page },
    responses: schemas.answers(z.object({ entries: z.array(schemas.audit), next: z.number().nullable() }), 'Entries'),
  })
  app.openapi(audit, (c) => {
    const limit = integerQuery(c, 'limit', 100, 1, 1_000)
    const before = integerQuery(c, 'before', LIMITS.counter, 1, LIMITS.counter)
    const entries = store.audit.list(limit, before)
    return c.json({ entries: [...entries], next: schemas.nextOf(entries, limit) }, 200)
  })
}
