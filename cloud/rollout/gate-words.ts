import { threeDigits } from '../../contract/three-digits.ts'
import type { GateReading, GateReason, SignalReading } from '../store/gate-reading.ts'
import type { SliceName } from '../store/rollout-plan.ts'
import { signalWords } from './signals.ts'

const REASON_WORDS: Readonly<Record<GateReason, string>> = {
  'metric-worse': 'worse than the margin allows',
  'installs-failing': 'more than the service level allows',
  'not-inferior': 'shown to be within the margin',
  soaked: 'soaked without harm',
  watched: 'watched without harm; the stage is too small to prove anything',
  ungated: 'not gated, as was asked for',
  'not-proven': 'no harm found at the longest exposure, and nothing proven',
  'too-few-devices': 'too few devices with data',
  'too-few-events': 'too few events',
  'too-few-canary-events': 'too few events among the canaries',
  'too-early': 'too early',
  'too-few-installed': 'too few devices run the candidate',
  'lost-canaries': 'canaries without data are too many for chance',
  suspect: 'looks worse than the margin allows',
  'slice-suspect': 'looks worse there than chance makes one of so many',
  undecided: 'not yet shown to be within the margin',
  'waits-for-person': 'ready to go on; a person must end this stage (kinglet rollout advance)',
  'max-exposure': 'undecided at the longest exposure: a person must decide',
}

const VERDICT_WORDS = { rollback: 'Roll back', advance: 'Advance', hold: 'Hold', pause: 'Pause' } as const
const AGAINST = {
  control: '',
  past: ' Compared with the same devices before, not with a control drawn by lot.',
  none: '',
}

const nameOf = (metric: string): string => (metric === 'installFailures' ? 'install failures' : signalWords(metric))

const margin = (ratio: number): string => `${threeDigits((ratio - 1) * 100)} %`

/** chosen: more slices than this that harm is found in say that it is everywhere */
const SLICES_TOLD_MAX = 3

const sliceName = ({ by, value }: SliceName): string => `${by} ${value}`

/** The numbers of the slices that the verdict names. */
function sliceWords(reading: GateReading): string[] {
  return reading.reasons.flatMap(({ metric, slice }) => {
    if (slice === undefined) return []
    const index = reading.slices?.findIndex(({ by, value }) => by === slice.by && value === slice.value) ?? -1
    const own = reading.metrics.find(({ name }) => name === metric)?.slices?.[index]
    if (own === undefined) return []
    const name = sliceName(slice)
    const { canary, control, ratio, first } = own
    if (canary !== null && control !== null && ratio !== null) {
      const rates = `${threeDigits(canary.rate)} against ${threeDigits(control.rate)}, ratio ${threeDigits(ratio)}`
      return [`${name} ${rates}, ${canary.devices} canaries`]
    }
    return first === null
      ? []
      : [
          `${name}: ${first.canary} of ${first.canaryAtRisk} canaries against ${first.control} of ${first.controlAtRisk}`,
        ]
  })
}

/** Devices that had a first event, where anybody had one. */
function firstWords({ name, first }: SignalReading): string[] {
  if (first === null || first.canary + first.control === 0) return []
  const { canary, canaryAtRisk, control, controlAtRisk } = first
  const against = controlAtRisk > 0 ? ` against ${control} of ${controlAtRisk}` : ''
  return [`${nameOf(name)}: ${canary} of ${canaryAtRisk} canaries${against}`]
}

function metricWords(metric: SignalReading): string {
  const { name, canary, control, ratio, interval } = metric
  if (canary === null || control === null || ratio === null) return `${nameOf(name)}: not enough data`
  const low = interval === null ? '' : ` (${threeDigits(interval[0])} to ${threeDigits(interval[1])})`
  return `${nameOf(name)} ${threeDigits(canary.rate)} against ${threeDigits(control.rate)}, ratio ${threeDigits(ratio)}${low}`
}

/** Whether a signal is told of in one line: those that ask for a proof, and whatever the verdict names. */
const isTold = (reading: GateReading, { name, advance }: SignalReading): boolean =>
  advance !== null || reading.reasons.some(({ metric }) => metric === name)

/** The reading in one or two sentences for people. */
export function gateWords(reading: GateReading): string {
  const margins = [
    ...new Set(reading.metrics.flatMap(({ advance, marginRatio }) => (advance === null ? [] : [margin(marginRatio)]))),
  ]
  const slices = reading.reasons.filter(({ slice }) => slice !== undefined).slice(0, SLICES_TOLD_MAX)
  const told = reading.reasons.filter((reason) => reason.slice === undefined || slices.includes(reason))
  const reasons = told.map(({ code, metric, slice }) => {
    if (slice !== undefined) return `${nameOf(metric ?? '')} in ${sliceName(slice)}: ${REASON_WORDS[code]}`
    if (code === 'not-inferior')
      return `${REASON_WORDS[code]} of ${margins.join(' and ')} in every metric that asks for a proof`
    return metric === undefined ? REASON_WORDS[code] : `${nameOf(metric)}: ${REASON_WORDS[code]}`
  })
  const { started, failed } = reading.installs
  const metrics = reading.metrics.filter((metric) => isTold(reading, metric))
  const numbers = [
    ...metrics.filter(({ canary }) => canary !== null).map(metricWords),
    ...sliceWords({ ...reading, reasons: told }),
    ...reading.metrics
      .filter((metric) => metric.canary === null && (isTold(reading, metric) || metric.name === 'contact'))
      .flatMap(firstWords),
    ...(failed > 0 ? [`${failed} of ${started} installs failed`] : []),
    ...(reading.exposure.silent > 0 ? [`${reading.exposure.silent} exposed devices are silent`] : []),
    ...unkeyedWords(reading.exposure),
    `${threeDigits(reading.elapsedHours)} h into the stage`,
  ]
  const words = `${VERDICT_WORDS[reading.verdict]}: ${[...new Set(reasons)].join('; ')}.`
  return `${words} ${capitalize(numbers.join('; '))}.${adviceWords(reading)}${AGAINST[reading.comparison]}`
}

function adviceWords({ advice = [] }: GateReading): string {
  const words = advice.map(
    ({ code, metric = '', slice }) =>
      `${nameOf(metric)}${slice === undefined ? '' : ` in ${sliceName(slice)}`}: ${REASON_WORDS[code]}`,
  )
  return words.length === 0 ? '' : ` Advisory, nothing acts on it: ${words.join('; ')}.`
}

const unkeyedWords = ({ assigned, unkeyed = 0 }: GateReading['exposure']): string[] =>
  unkeyed > 0 ? [`${unkeyed} of ${assigned} exposed devices have no key: what they run is their gateway’s word`] : []

const capitalize = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
