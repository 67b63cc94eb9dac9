import { threeDigits } from '../../contract/three-digits.ts'

interface Arm {
  readonly devices: number
  readonly rate: number
}

interface Figures {
  readonly canary: Arm | null
  readonly control: Arm | null
  readonly ratio: number | null
  readonly first: Readonly<Record<'canary' | 'canaryAtRisk' | 'control' | 'controlAtRisk', number>> | null
}

/** `GET /v1/rollouts/{id}/report`, as far as it is printed. */
export interface RolloutReport {
  readonly id: string
  readonly family: string
  readonly model: { readonly name: string; readonly version: number }
  readonly previous: { readonly name: string; readonly version: number }
  readonly cohort: string | null
  readonly experimentHours: number | null
  readonly state: string
  readonly why: string
  readonly hours: number
  readonly comparison: 'control' | 'past' | 'none'
  readonly exposure: { readonly assigned: number; readonly installed: number; readonly silent: number }
  readonly installs: { readonly started: number; readonly failed: number }
  readonly words: string
  readonly signals: readonly (Figures & {
    readonly words: string
    readonly finding: 'worse' | 'no-worse' | 'undecided' | 'no-data'
    readonly marginRatio: number
    readonly interval: readonly [number, number] | null
    readonly slices: readonly (Figures & { readonly by: string; readonly value: string; readonly harmed: boolean })[]
  })[]
}

const FINDINGS = {
  worse: 'worse than the margin allows',
  'no-worse': 'shown to be within the margin',
  undecided: 'neither harm nor its absence is shown',
  'no-data': 'no data',
} as const

const AGAINST = { control: 'devices drawn by lot', past: 'the same devices before', none: 'nothing' } as const

function figures(
  { canary, control, ratio, first }: Figures,
  interval: readonly [number, number] | null = null,
): string[] {
  const between = interval === null ? '' : ` (${threeDigits(interval[0])} to ${threeDigits(interval[1])})`
  const rates =
    canary === null || control === null
      ? []
      : [
          `${threeDigits(canary.rate)} (${canary.devices} devices) against ${threeDigits(control.rate)} (${control.devices})`,
          ...(ratio === null ? [] : [`ratio ${threeDigits(ratio)}${between}`]),
        ]
  if (first === null || first.canaryAtRisk + first.controlAtRisk === 0) return rates
  return [
    ...rates,
    `${first.canary} of ${first.canaryAtRisk} devices had any, against ${first.control} of ${first.controlAtRisk}`,
  ]
}

/** The report in lines for people. */
export function reportLines(report: RolloutReport): string[] {
  const { id, family, model, previous, cohort, experimentHours, state, why, hours, exposure, installs } = report
  const what = experimentHours === null ? 'rollout' : `experiment of ${experimentHours} h`
  const lines = [
    `${id}  ${family}  ${what}: ${model.name} ${model.version} beside ${previous.name} ${previous.version}, ${state} after ${threeDigits(hours)} h in its last stage`,
    `  ${why}`,
    ...(cohort === null || cohort === '' ? [] : [`  devices chosen by ${cohort}`]),
    `  ${exposure.assigned} devices were given it, ${exposure.installed} ran it, ${exposure.silent} fell silent; ${installs.failed} of ${installs.started} installs failed`,
    `  compared with ${AGAINST[report.comparison]}:`,
  ]
  for (const signal of report.signals) {
    lines.push(`  ${signal.words}: ${[FINDINGS[signal.finding], ...figures(signal, signal.interval)].join('; ')}`)
    for (const slice of signal.slices) {
      const told = figures(slice)
      if (told.length === 0 && !slice.harmed) continue
      const harm = slice.harmed ? ['worse than the margin allows'] : []
      lines.push(`    ${slice.by} ${slice.value}: ${[...harm, ...told].join('; ')}`)
    }
  }
  return lines
}
