/** What has an age: days that it is kept, at least and when nothing else is said. `least` is what gates, drift and views read.
 *  What is not here does not grow with time: one row a device, a gateway or a key, or what operators do a few times a year. */
export const RETENTION = {
  reports: { days: 90, least: 1, what: 'raw reports' },
  hours: {
    days: 60,
    least: 35,
    what: 'hours and verdicts of each device, and what came of those judged twice; gates look back 30 days',
  },
  boots: { days: 400, least: 35, what: 'boots of a device beyond its newest 16' },
  events: { days: 400, least: 35, what: 'events; what a device last signed of what it runs stays' },
  aggregates: { days: 400, least: 1, what: 'sums that gateways send' },
  'fleet-hours': { days: 1_100, least: 35, what: 'hours of the whole fleet' },
  rollouts: { days: 400, least: 35, what: 'who was in which arm, since a rollout ended' },
  readings: { days: 400, least: 35, what: 'what gates said, with what it was computed from' },
  alerts: { days: 400, least: 1, what: 'alerts, since they were resolved' },
  audit: { days: 1_100, least: 30, what: 'the audit log' },
  claims: { days: 30, least: 1, what: 'claims, since they expired; until then "used" is told from "never heard of"' },
  tokens: { days: 30, least: 0, what: 'names of tokens, since they expired: why a service has stopped' },
} as const

export type Retained = keyof typeof RETENTION
/** days that each is kept */
export type RetentionPolicy = Readonly<Record<Retained, number>>

export const DEFAULT_RETENTION = Object.fromEntries(
  Object.entries(RETENTION).map(([name, { days }]) => [name, days]),
) as RetentionPolicy
