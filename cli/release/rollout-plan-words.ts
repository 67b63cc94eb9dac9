import type { RolloutPlan, SignalFind } from '../../cloud/store/rollout-plan.ts'

const COMPARED = {
  control: 'with a control drawn by lot',
  past: 'with their own past, not with a control: the fleet is too small for one',
  none: 'with nothing: ungated',
} as const

const times = (ratio: number): string => `×${ratio < 100 ? ratio.toFixed(2) : '100 or more'}`

function findWords({ words, worse, ratio, share }: SignalFind): string[] {
  if (share !== null) return [`${words} in ${(share * 100).toFixed(1)} %`]
  if (ratio === null) return []
  return [`${words} ${worse === 'higher' ? times(ratio) : `÷${ratio < 100 ? ratio.toFixed(2) : '100 or more'}`}`]
}

const bytesWords = (bytes: number): string =>
  bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e3).toFixed(1)} kB`

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
  for (const {
    percent,
    exposed,
    fresh,
    decides,
    provesEqual,
    smallestHarm,
    finds: tests = [],
    slices = [],
    bytes,
  } of stages) {
    const finds = smallestHarm === null ? 'no rate' : `false wakes ×${smallestHarm.toFixed(2)}`
    const proof = provesEqual
      ? 'proves an equal model'
      : decides
        ? 'proves a model with half the false wakes; of an equal one it may not'
        : 'too small to prove anything: it watches'
    const air = bytes === undefined ? '' : `, ${bytesWords(bytes)} on the air`
    lines.push(`  ${percent} %: ${exposed} devices (${fresh} new${air}); finds ${finds} with 80 % power; ${proof}`)
    const found = tests.flatMap(findWords)
    if (found.length > 0) lines.push(`    by its end, with 80 % power: ${found.join(', ')}`)
    const harms = slices.map((harm, i) => {
      const slice = plan.slices?.[i]
      return `${slice?.by} ${slice?.value} (${slice?.devices}) ${harm === null ? 'no rate' : times(harm)}`
    })
    if (harms.length > 0) lines.push(`    the same false wakes in one slice: ${harms.join(', ')}`)
  }
  if (proposal !== null) lines.push(`the first stage cannot decide; --stages ${proposal.join(',')} could`)
  return lines
}
