import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Clock } from '../../contract/clock.ts'
import { present } from '../../contract/present.ts'
import type { Store } from '../store/store.ts'
import { hourIndex } from '../store/telemetry-store.ts'
import { fleetFigures } from './fleet-figures.ts'

/** Prometheus metrics of one cloud process, in a registry of its own. Gauges are read from the store at each scrape. */
export interface CloudMetrics {
  readonly registry: Registry
  readonly ingestRows: Counter<'kind'>
  readonly ingestRefused: Counter<'code'>
  readonly ingestLateRows: Counter
  readonly ingestBatches: Counter<'outcome'>
  readonly requests: Counter<'method' | 'route' | 'status'>
  readonly tickSeconds: Histogram
  readonly assignmentsSigned: Counter
}

/** Puts `kinglet_live_readers` on the page of metrics: requests that are held open, by what for. */
export function measureReaders(registry: Registry, readers: Readonly<Record<'stream' | 'feed', () => number>>): void {
  new Gauge({
    name: 'kinglet_live_readers',
    help: 'Requests that are held open: live streams, and polls of assignments that wait for one.',
    labelNames: ['kind'],
    registers: [registry],
    collect() {
      this.set({ kind: 'stream' }, readers.stream())
      this.set({ kind: 'feed' }, readers.feed())
    },
  })
}

/** Puts on the page of metrics what the receiver of alerts was told, and what it was not. @returns counts requests */
export function countTold(registry: Registry, store: Store): Counter<'outcome'> {
  const registers = [registry]
  new Gauge({
    name: 'kinglet_alerts_untold',
    help: 'Alerts whose state the receiver of alerts has not taken yet.',
    registers,
    collect() {
      this.set(store.alerts.countUntold())
    },
  })
  return new Counter({
    name: 'kinglet_alert_webhook_total',
    help: 'Attempts to tell the receiver of an alert: taken, failed (tried again) or refused (not tried again).',
    labelNames: ['outcome'],
    registers,
  })
}

export function createMetrics(store: Store, clock: Clock): CloudMetrics {
  const registry = new Registry()
  const registers = [registry]
  const recent = () => {
    const hour = hourIndex(clock.wallMs())
    return fleetFigures(store.fleet.hours(hour - 3, hour))
  }
  const gauge = (name: string, help: string, read: () => number | null): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read() ?? Number.NaN)
      },
    })
  }
  const familyOf = (release: number): string => present(store.models.byId(release), 'the release of a rollout').family
  gauge('kinglet_devices_enrolled', 'Enrolled devices.', () => store.devices.count().enrolled)
  gauge('kinglet_devices_unkeyed', 'Enrolled devices without a key of their own.', () => store.devices.count().unkeyed)
  gauge('kinglet_alerts_open', 'Open alerts.', () => store.alerts.allOpen().length)
  new Gauge({
    name: 'kinglet_rollout_open',
    help: 'Rollouts of a family that are running or paused.',
    labelNames: ['family'],
    registers,
    collect() {
      this.reset()
      for (const family of store.models.families()) this.set({ family }, 0)
      for (const { release } of store.rollouts.allOpen()) this.inc({ family: familyOf(release) })
    },
  })
  new Gauge({
    name: 'kinglet_rollout_stage',
    help: 'Stage of each open rollout, from 1; 0 before the first.',
    labelNames: ['family', 'rollout'],
    registers,
    collect() {
      this.reset()
      for (const { id, release, stage } of store.rollouts.allOpen()) {
        this.set({ family: familyOf(release), rollout: id }, stage)
      }
    },
  })
  gauge('kinglet_fleet_duty_cycle', 'Active over listening time, last three full hours.', () => recent().dutyCycle)
  gauge(
    'kinglet_fleet_false_wakes_per_hour',
    'Rejected wakes per listening hour, last three full hours.',
    () => recent().falseWakesPerHour,
  )
  gauge(
    'kinglet_fleet_false_wake_rate',
    'Rejected over judged wakes, last three full hours.',
    () => recent().falseWakeRate,
  )
  gauge(
    'kinglet_fleet_energy_joules_per_device_day',
    'Energy per device and day, last three full hours.',
    () => recent().energyJoulePerDeviceDay,
  )
  return {
    registry,
    ingestRows: new Counter({
      name: 'kinglet_ingest_rows_total',
      help: 'Rows that changed something, by kind; repeated rows do not count.',
      labelNames: ['kind'],
      registers,
    }),
    ingestRefused: new Counter({
      name: 'kinglet_ingest_refused_rows_total',
      help: 'Rows that their gateway may not send: of other sites, of devices that are not enrolled there.',
      labelNames: ['code'],
      registers,
    }),
    ingestLateRows: new Counter({
      name: 'kinglet_ingest_late_rows_total',
      help: 'Reports and events received more than seven days after they were made; no gate counts them.',
      registers,
    }),
    ingestBatches: new Counter({
      name: 'kinglet_ingest_batches_total',
      help: 'Ingest batches by outcome (accepted, or the error code).',
      labelNames: ['outcome'],
      registers,
    }),
    requests: new Counter({
      name: 'kinglet_http_requests_total',
      help: 'HTTP requests by method, route pattern and status.',
      labelNames: ['method', 'route', 'status'],
      registers,
    }),
    tickSeconds: new Histogram({
      name: 'kinglet_evaluation_seconds',
      help: 'Duration of one evaluation of gates, drift and sums, in seconds of the cloud clock.',
      buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60],
      registers,
    }),
    assignmentsSigned: new Counter({
      name: 'kinglet_assignments_signed_total',
      help: 'Assignments signed by the director key.',
      registers,
    }),
  }
}
