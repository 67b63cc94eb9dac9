import type { ServiceRole } from '../store/roles.ts'

/** What there is to be allowed: by whom, and by which routes. The only place that says so; docs/security.md has it as a table. */
interface Right {
  readonly what: string
  readonly roles: readonly ServiceRole[]
  /** as in the OpenAPI document */
  readonly routes: readonly string[]
}

export const RIGHTS = {
  read: {
    what: 'read',
    roles: ['viewer', 'operator', 'release-manager', 'admin'],
    routes: [
      ...['GET /metrics', 'GET /v1/stream', 'GET /v1/audit', 'GET /v1/events', 'GET /v1/metadata'],
      ...['GET /v1/devices', 'GET /v1/devices/{id}', 'GET /v1/devices/{id}/events', 'GET /v1/groups'],
      ...['GET /v1/fleet/summary', 'GET /v1/fleet/series', 'GET /v1/fleet/counters', 'GET /v1/families'],
      ...['GET /v1/gateways', 'GET /v1/gateways/{id}'],
      ...['GET /v1/models/{name}/{version}/signals', 'GET /v1/models/{name}/{version}/patches'],
      'GET /v1/models/{name}/{version}/gates',
      ...['GET /v1/rollouts', 'GET /v1/rollouts/{id}', 'GET /v1/rollouts/{id}/readings'],
      ...['GET /v1/rollouts/{id}/cohort', 'GET /v1/rollouts/{id}/report'],
      ...['GET /v1/rollouts/{id}/readings/{at}', 'POST /v1/rollouts/plan'],
      ...['GET /v1/gate-policies', 'GET /v1/gate-policies/{reference}'],
      ...['GET /v1/export/devices', 'GET /v1/export/hours', 'GET /v1/export/verdicts', 'GET /v1/export/audit'],
      ...['GET /v1/incidents', 'GET /v1/incidents/{id}'],
      ...['GET /v1/alerts', 'GET /v1/alerts/figures', 'GET /v1/alerts/groups', 'GET /v1/silences'],
    ],
  },
  files: {
    what: 'read releases, artifacts and metadata; a gateway: those that its sites may need',
    roles: ['viewer', 'operator', 'release-manager', 'admin', 'gateway'],
    routes: ['GET /v1/models', 'GET /v1/artifacts/{sha256}', 'GET /v1/metadata/{file}'],
  },
  renew: {
    what: 'renew one’s own token',
    roles: ['viewer', 'operator', 'release-manager', 'admin', 'gateway'],
    routes: ['POST /v1/tokens/renew'],
  },
  alerts: {
    what: 'take alerts on, silence them; open, note and close incidents',
    roles: ['operator', 'release-manager', 'admin'],
    routes: [
      ...['POST /v1/alerts/{id}/acknowledge', 'POST /v1/silences', 'DELETE /v1/silences/{id}'],
      ...['POST /v1/incidents', 'POST /v1/incidents/{id}/notes', 'POST /v1/incidents/{id}/close'],
    ],
  },
  stop: {
    what: 'stop what does harm: pause a rollout or take it back, take a release from the whole fleet, put a gateway into quarantine',
    roles: ['operator', 'release-manager', 'admin'],
    routes: [
      ...['POST /v1/rollouts/{id}/pause', 'POST /v1/rollouts/{id}/rollback', 'POST /v1/models/{name}/stop'],
      'POST /v1/gateways/{id}/quarantine',
    ],
  },
  devices: {
    what: 'devices, groups, update windows, the family that a device follows',
    roles: ['operator', 'admin'],
    routes: [
      ...['POST /v1/devices', 'POST /v1/claims', 'POST /v1/devices/{id}/revoke', 'DELETE /v1/devices/{id}'],
      ...['POST /v1/devices/{id}/family', 'PUT /v1/devices/{id}/window', 'PUT /v1/sites/{id}/window'],
      ...['PUT /v1/groups/{name}', 'DELETE /v1/groups/{name}'],
    ],
  },
  releases: {
    what: 'say what devices run: publish, register, approve, promote; start, resume, advance and change rollouts; pin a device; gate policies',
    roles: ['release-manager', 'admin'],
    routes: [
      ...['PUT /v1/artifacts/{sha256}', 'POST /v1/metadata', 'POST /v1/models'],
      ...['PUT /v1/models/{name}/{version}/patches/{sha256}', 'POST /v1/models/{name}/promote'],
      ...['POST /v1/models/{name}/approve', 'PUT /v1/families/{name}/risk'],
      ...['POST /v1/rollouts', 'POST /v1/rollouts/{id}/resume', 'POST /v1/rollouts/{id}/advance'],
      ...['PATCH /v1/rollouts/{id}', 'POST /v1/devices/{id}/target', 'POST /v1/gate-policies'],
    ],
  },
  administer: {
    what: 'tokens, gateways, the cloud’s own keys',
    roles: ['admin'],
    routes: [
      ...['GET /v1/tokens', 'POST /v1/tokens', 'POST /v1/tokens/revoke'],
      ...['POST /v1/gateway-claims', 'POST /v1/gateways/{id}/revoke', 'POST /v1/gateways/{id}/release'],
      ...['POST /v1/metadata/online-key', 'POST /v1/metadata/director-key'],
    ],
  },
  feed: {
    what: 'read assignments and revocations of its sites, tell of a shared identity',
    roles: ['gateway', 'admin'],
    routes: ['GET /v1/assignments', 'GET /v1/revocations', 'POST /v1/notices'],
  },
  speak: {
    what: 'say what devices of its sites have said',
    roles: ['gateway'],
    routes: ['POST /v1/ingest', 'GET /v1/wake-checks', 'POST /v1/wake-checks/{id}'],
  },
} as const satisfies Readonly<Record<string, Right>>

/** What needs no token: it is public, or whoever asks proves a key in the body. */
export const OPEN_ROUTES: readonly string[] = [
  ...['GET /healthz', 'GET /readyz', 'GET /v1/keys', 'GET /openapi.json', 'GET /'],
  ...['POST /v1/challenges', 'POST /v1/enrolments', 'POST /v1/devices/{id}/token', 'POST /v1/devices/{id}/key'],
  ...['POST /v1/gateways/{id}/enrolment', 'POST /v1/gateways/{id}/token'],
]
/** Files of the status page. */
const OPEN_FILES = 'GET /console/'

const ROLES_BY_ROUTE: ReadonlyMap<string, readonly ServiceRole[]> = new Map(
  Object.values(RIGHTS).flatMap(({ roles, routes }) => routes.map((route) => [route, roles] as const)),
)

/** Who may ask for a route. Nobody for one that no right names: whoever adds it says so here.
 *  @param route method and pattern, as in the OpenAPI document @returns `open`: whoever comes */
export const rolesFor = (route: string): readonly ServiceRole[] | 'open' =>
  OPEN_ROUTES.includes(route) || route.startsWith(OPEN_FILES) ? 'open' : (ROLES_BY_ROUTE.get(route) ?? [])

/** Whether a role may do what is not a route of its own: what a part of a request asks for. */
export const may = (role: ServiceRole, right: keyof typeof RIGHTS): boolean =>
  (RIGHTS[right].roles as readonly ServiceRole[]).includes(role)
