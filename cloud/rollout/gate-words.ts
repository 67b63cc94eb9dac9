import { threeDigits } from '../../contract/three-digits.ts'
import type { GateReading, GateReason, MetricReading } from '../store/gate-reading.ts'

const METRIC_WORDS = {
  falseWakesPerHour: 'false wakes per hour',
  verifiedWakesPerHour: 'verified wakes per hour',
  installFailures: 'install failures',
} as const

const REASON_WORDS: Readonly<Record<GateReason, string>> = {
  'metric-worse': 'worse than in the control arm',
  'installs-failing': 'more than the service level allows',
  'not-inferior': 'no worse than the control arm in every metric',
  soaked: 'soaked without harm',
  'too-few-devices': 'too few devices with data',
  'too-few-events': 'too few events',
  'too-few-canary-events': 'too few events among the canaries',
  'too-early': 'too early',
  'too-few-installed': 'too few devices run the candidate',
  undecided: 'not yet shown to be no worse',
  'max-exposure': 'undecided at the longest exposure: a person must decide',
}

const VERDICT_WORDS = { rollback: 'Roll back', advance: 'Advance', hold: 'Hold', pause: 'Pause' } as const

function metricWords(metric: MetricReading): string {
  const { canary, control, ratio } = metric
  const name = METRIC_WORDS[metric.name]
  if (canary === null || control === null || ratio === null) return `${name}: not enough data`
  const low =
    metric.interval === null ? '' : ` (${threeDigits(metric.interval[0])} to ${threeDigits(metric.interval[1])})`
  return `${name} ${threeDigits(canary.rate)} against ${threeDigits(control.rate)}, ratio ${threeDigits(ratio)}${low}`
}

/** The reading in one or two sentences for people. */
export function gateWords(reading: GateReading): string {
  const reasons = reading.reasons.map(({ code, metric }) =>
    metric === undefined ? REASON_WORDS[code] : `${METRIC_WORDS[metric]}: ${REASON_WORDS[code]}`,
  )
  const { started, failed } = reading.installs
  const numbers = [
    ...reading.metrics.filter(({ canary }) => canary !== null).map(metricWords),
    ...(failed > 0 ? [`${failed} of ${started} installs failed`] : []),
    `${threeDigits(reading.elapsedHours)} h into the stage`,
  ]
  return `${VERDICT_WORDS[reading.verdict]}: ${[...new Set(reasons)].join('; ')}. ${capitalize(numbers.join('; '))}.`
}

const capitalize = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
