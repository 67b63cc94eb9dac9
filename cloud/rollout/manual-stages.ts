import type { RolloutRecord } from '../store/rollout-store.ts'

/** Percentages of the stages that wait at their end for a person. A rollout of before knows no such stage. */
export function manualStages({ policy, percents }: Pick<RolloutRecord, 'policy' | 'percents'>): readonly number[] {
  const { manual = 'none' } = policy as Partial<RolloutRecord['policy']>
  if (manual === 'none') return []
  return manual === 'all' ? percents : percents.filter((percent) => manual.includes(percent))
}
