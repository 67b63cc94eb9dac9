import type { Ledger } from '../../firmware-sim/ledger.ts'
import type { CloudApi } from '../cloud-api.ts'
import { type Figures, figuresBetween, type SeriesPoint } from './story-figures.ts'

export interface RolloutView {
  readonly id: string
  readonly model: string
  readonly state: string
  readonly stage: number
  readonly percents: readonly number[]
  readonly reachedPercent: number
  readonly devicesExposed: number
  readonly hoursToDecision: number | null
  readonly why: string
  readonly gateWords: string | null
}

export interface AlertView {
  readonly code: string
  readonly metric: string
  readonly modelName: string | null
  readonly sinceMs: number
  readonly ratio: number
}

export interface FleetCounters {
  readonly counters: Readonly<Record<string, number>>
  readonly energyMj: Readonly<Record<string, number>>
  readonly levelMs: Readonly<Record<string, number>>
  readonly verdicts: { readonly confirmed: number; readonly rejected: number }
}

export type GroundTruth = Record<string, { simulator: number; cloud: number }>

/** Counters that the simulator keeps for itself and that the cloud must arrive at. */
const COMPARED = [
  'listeningMs',
  'windows',
  'inferences',
  'gateOpenings',
  'wakes',
  'installsStarted',
  'installsConfirmed',
] as const

/** What the story's operator does with the cloud, over its public API and nothing else. */
export class StoryCloud {
  readonly #api: CloudApi

  constructor(api: CloudApi) {
    this.#api = api
  }

  promote(name: string, to: 'staging' | 'production', reason: string): Promise<unknown> {
    return this.#api.post(`/v1/models/${name}/promote`, { to, reason })
  }

  /** @returns the rollout's id */
  async startRollout(name: string): Promise<string> {
    const { id } = await this.#api.post<RolloutView>('/v1/rollouts', {
      name,
      percents: [20, 50, 100],
      gate: { soakHours: 6, covariateHours: 48 },
    })
    return id
  }

  rollout(id: string): Promise<RolloutView> {
    return this.#api.get<RolloutView>(`/v1/rollouts/${id}`)
  }

  /** Oldest first. */
  async rollouts(): Promise<RolloutView[]> {
    return (await this.#api.get<{ rollouts: RolloutView[] }>('/v1/rollouts')).rollouts.reverse()
  }

  /** Newest first. */
  async alerts(): Promise<AlertView[]> {
    return (await this.#api.get<{ alerts: AlertView[] }>('/v1/alerts')).alerts
  }

  counters(): Promise<FleetCounters> {
    return this.#api.get<FleetCounters>('/v1/fleet/counters')
  }

  /** Fleet figures summed over whole hours since `startMs`. */
  async figures(startMs: number, fromHour: number, toHour: number): Promise<Figures> {
    const { points } = await this.#api.get<{ points: SeriesPoint[] }>('/v1/fleet/series?hours=744')
    return figuresBetween(points, startMs, fromHour, toHour)
  }

  /** The cloud's sums beside the simulator's own. */
  async groundTruth(ledger: Ledger): Promise<GroundTruth> {
    const { counters, verdicts } = await this.counters()
    const compared = COMPARED.map((name) => [name, { simulator: ledger[name], cloud: counters[name] ?? 0 }] as const)
    return {
      ...Object.fromEntries(compared),
      wakesVerified: { simulator: ledger.wakes, cloud: verdicts.confirmed + verdicts.rejected },
    }
  }
}

export const truthMatches = (truth: GroundTruth): boolean =>
  Object.values(truth).every(({ simulator, cloud }) => simulator === cloud)
