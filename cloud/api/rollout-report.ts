import { present } from '../../contract/present.ts'
import { stageHours } from '../rollout/evidence.ts'
import { gateWords } from '../rollout/gate-words.ts'
import { signalWords } from '../rollout/signals.ts'
import type { GateReading, SignalReading } from '../store/gate-reading.ts'
import type { RolloutRecord } from '../store/rollout-store.ts'
import type { Store } from '../store/store.ts'

/** What was found of a signal by the tests that decide; an interval is only for people. */
function findingOf(
  { rollback, advance, canary, first }: SignalReading,
  isHarmed: boolean,
): 'worse' | 'no-worse' | 'undecided' | 'no-data' {
  if (isHarmed || (rollback !== null && rollback.logE >= rollback.threshold)) return 'worse'
  if (advance !== null && advance.logE >= advance.threshold) return 'no-worse'
  return canary === null && (first === null || first.canaryAtRisk === 0) ? 'no-data' : 'undecided'
}

function signalReport(reading: GateReading, signal: SignalReading) {
  const said = [...reading.reasons, ...(reading.advice ?? [])]
  const harms = said.filter(({ code, metric }) => code === 'metric-worse' && metric === signal.name)
  const { name, worse, canary, control, ratio, interval, marginRatio, first } = signal
  return {
    ...{ name, words: signalWords(name), worse, finding: findingOf(signal, harms.length > 0), marginRatio },
    ...{ canary, control, ratio, first, interval: interval === null ? null : ([...interval] as [number, number]) },
    slices: (signal.slices ?? []).map((own, i) => {
      const { by, value } = present(reading.slices?.[i], 'a slice of the reading')
      const harmed = harms.some(({ slice }) => slice?.by === by && slice.value === value)
      return { by, value, harmed, canary: own.canary, control: own.control, ratio: own.ratio, first: own.first }
    }),
  }
}

/** What a rollout or an experiment has found, as of its end, or of the gate's newest look.
 *  @returns undefined before the gate has said anything */
export function rolloutReport(store: Store, rollout: RolloutRecord, nowMs: number) {
  const { reading } = rollout
  if (reading === null) return undefined
  const release = present(store.models.byId(rollout.release), 'the release of a rollout')
  const before = present(store.models.byId(rollout.previous), 'the release before a rollout')
  return {
    id: rollout.id,
    family: release.family,
    model: { name: release.name, version: release.version },
    previous: { name: before.name, version: before.version },
    ...{ cohort: rollout.cohort, experimentHours: rollout.experimentHours },
    ...{ state: rollout.state, why: rollout.why, startedMs: rollout.createdMs, endedMs: rollout.endedMs },
    hours: stageHours(rollout, rollout.endedMs ?? nowMs),
    ...{ comparison: reading.comparison, exposure: reading.exposure },
    installs: { started: reading.installs.started, failed: reading.installs.failed },
    ...{ verdict: reading.verdict, words: gateWords(reading) },
    signals: reading.metrics.map((signal) => signalReport(reading, signal)),
  }
}
