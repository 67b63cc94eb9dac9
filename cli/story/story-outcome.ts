import type { Ledger } from '../../firmware-sim/ledger.ts'
import { type FleetCounters, truthMatches } from './story-cloud.ts'
import { dutyCycle, type Figures, perHour } from './story-figures.ts'
import type { StoryFleet } from './story-fleet.ts'
import type { StoryCheck, StoryResult } from './story-result.ts'
import type { Told } from './story-scenarios.ts'
import type { StoryStage } from './story-stage.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** Puts together what a story came to, when its fleet has stopped and its last messages have arrived.
 *  @param run what the command line and the clock on the wall say of it */
export async function storyOutcome(
  stage: StoryStage,
  told: Told,
  calm: Figures,
  run: Pick<StoryResult, 'scenario' | 'seed' | 'devices' | 'restarts'> & { readonly wallSeconds: () => number },
): Promise<StoryResult> {
  const { fleet, ledger, hearing } = stage.fleet
  const groundTruth = await stage.groundTruth()
  const groundTruthMatches = truthMatches(groundTruth)
  const rollouts = await stage.cloud.rollouts()
  const alerts = await stage.cloud.alerts()
  const counters = await stage.cloud.counters()
  const { candidate } = told
  const isGoodOut = rollouts.some(({ model, state }) => model === candidate && state === 'completed')
  const checks = [
    ...told.checks,
    ...fleetChecks(stage.fleet, ledger, told.ends ?? (isGoodOut ? [candidate] : ['kws-1', candidate])),
    { what: "the cloud's counters equal the simulator's ground truth", holds: groundTruthMatches },
  ]
  const phases = <T>(of: (figures: Figures | null) => T) => ({
    calm: of(calm),
    before: of(told.before),
    after: of(told.after),
  })
  const airBytes = (counters.counters.radioRxBytes ?? 0) + (counters.counters.radioTxBytes ?? 0)
  const { scenario, seed, devices, restarts } = run
  return {
    ok: checks.every(({ holds }) => holds),
    scenario,
    seed,
    devices,
    wallSeconds: run.wallSeconds(),
    virtualHours: stage.hour,
    rollouts: rollouts.map(({ model, state, reachedPercent, devicesExposed, hoursToDecision, why }) => ({
      model,
      state,
      reachedPercent,
      devicesExposed,
      hoursToDecision,
      why,
    })),
    falseWakesPerHour: phases((figures) => perHour(figures, 'rejected')),
    dutyCycle: phases(dutyCycle),
    wakesPerHour: phases((figures) => perHour(figures, 'wakes')),
    bytesOnAir: { total: airBytes, perDevice: airBytes / devices },
    downloads: {
      count: ledger.downloads,
      patches: ledger.patchDownloads,
      bytes: ledger.downloadBytes,
      asBundlesBytes: ledger.bundleBytes,
    },
    energyJoulePerDeviceDay: joulePerDeviceDay(counters),
    alerts: alerts.map(({ code, metric, modelName, ratio, sinceMs }) => ({
      code,
      metric,
      model: modelName,
      ratio,
      hoursAfterDrift: told.driftMs === null ? null : (sinceMs - told.driftMs) / HOUR_MS,
    })),
    hoursToDetect: {
      drift: told.hoursToDrift,
      badModel: rollouts.find(({ model }) => told.harmful.includes(model))?.hoursToDecision ?? null,
    },
    devicesEverOnBadModel: fleet.devices.filter(({ modelsRun }) =>
      modelsRun.some((model) => told.harmful.includes(model)),
    ).length,
    restarts,
    groundTruthMatches,
    groundTruth,
    windowsInferred: hearing.inferred,
    checks,
  }
}

function fleetChecks({ fleet }: StoryFleet, ledger: Ledger, wanted: readonly string[]): StoryCheck[] {
  const endModels = new Map<string, number>()
  for (const { model } of fleet.devices) endModels.set(model ?? 'none', (endModels.get(model ?? 'none') ?? 0) + 1)
  const words = [...endModels].map(([model, n]) => `${n} on ${model}`).join(', ')
  return [
    {
      what: `every device ends on an intended model: ${words}`,
      holds: [...endModels.keys()].every((model) => wanted.includes(model)),
    },
    {
      what: `updates went out as patches: ${ledger.patchDownloads} of ${ledger.downloads} downloads`,
      holds: ledger.downloads === 0 || ledger.patchDownloads > 0,
    },
  ]
}

function joulePerDeviceDay({ energyMj, levelMs }: FleetCounters): number {
  const sum = (values: Readonly<Record<string, number>>) => Object.values(values).reduce((a, b) => a + b, 0)
  return sum(energyMj) / 1000 / Math.max(sum(levelMs) / DAY_MS, 1e-9)
}
