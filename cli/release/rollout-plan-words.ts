import type { RolloutPlan } from '../../cloud/store/rollout-plan.ts'

const COMPARED = {
  control: 'with a control drawn by lot',
  past: 'with their own past, not with a control: the fleet is too small for one',
  none: 'with nothing: ungated',
} as const

/** The plan in lines for people: who takes part, what each stage can find, and what it cannot. */
export function planLines(plan: RolloutPlan): string[] {
  const { devices, unheard, holdback, comparison, history, stages, proposal } = plan
  const left = unheard > 0 ? `, ${unheard} left out until they are heard` : ''
  const held = holdback > 0 ? `, ${holdback} held back until it completes` : ''
  const lines = [
    `${devices} devices${left}${held}; compared ${COMPARED[comparison]}`,
    history.devices === 0
      ? 'no history: differences between devices are not known, so small harm takes longer to find'
      : `history: ${history.hours.toFixed(0)} h of ${history.devices} devices`,
  ]
  for (const { percent, exposed, fresh, decides, provesEqual, smallestHarm } of stages) {
    const finds = smallestHarm === null ? 'no rate' : `false wakes ×${smallestHarm.toFixed(2)}`
    const proof = provesEqual
      ? 'proves an equal model'
      : decides
        ? 'proves a model with half the false wakes; of an equal one it may not'
        : 'too small to prove anything: it watches'
    lines.push(`  ${percent} %: ${exposed} devices (${fresh} new); finds ${finds} with 80 % power; ${proof}`)
  }
  if (proposal !== null) lines.push(`the first stage cannot decide; --stages ${proposal.join(',')} could`)
  return lines
}
