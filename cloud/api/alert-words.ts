import { threeDigits } from '../../contract/three-digits.ts'
import type { AlertSeverity } from '../alert-severity.ts'
import { signalWords } from '../rollout/signals.ts'
import type { AlertRecord } from '../store/alert-store.ts'
import { driftWords } from '../telemetry/drift-signals.ts'

const metricName = (metric: string): string => driftWords(metric) ?? signalWords(metric)

const capitalize = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

/** A title and a sentence for people.
 *  @param model name of the model that the alert is about */
export function alertWords(
  { code, metric, cohort, ratio, numbers }: AlertRecord,
  model: string,
): readonly [title: string, sentence: string] {
  const where = cohort === null ? '' : ` at ${cohort}`
  const { recent, baseline, silent, devices, noticeDays, hoursAfterEnd } = numbers
  const from =
    recent === undefined || baseline === undefined ? '' : `${threeDigits(recent)} against ${threeDigits(baseline)}`
  switch (code) {
    case 'drift':
      return [
        'Drift.',
        from === ''
          ? `The ${metricName(metric)} of devices on ${model}${where} has shifted (stability index ${threeDigits(ratio)}).`
          : `${capitalize(metricName(metric))} on ${model}${where}: ${from} at the same hours of each device's first day, ratio ${threeDigits(ratio)}.`,
      ]
    case 'after-rollout':
      return [
        'Worse since the rollout.',
        `${capitalize(metricName(metric))} on ${model}${where}: ${from} before it, ratio ${threeDigits(ratio)}, seen ${threeDigits(hoursAfterEnd ?? 0)} h after its end. "kinglet rollout rollback" still takes it back.`,
      ]
    case 'identity-shared':
      return ['Two devices.', `${metric} was pushed off the air ${ratio} times by a device with the same identity.`]
    case 'devices-silent':
      return [
        'Silent.',
        `${silent ?? 0} of ${devices ?? 0} devices at ${metric} have not been heard for longer than ever before.`,
      ]
    case 'gateway-silent':
      return ['Silent.', `Gateway ${metric} has not been heard.`]
    case 'gateway-overreach':
      return [
        'Not its own.',
        `Gateway ${metric} sent ${ratio} rows of sites or devices that are not its own. They were refused.`,
      ]
    case 'gateway-quarantined':
      return ['In quarantine.', `Nothing that gateway ${metric} says counts; "kinglet gateway release" ends it.`]
    case 'expiry':
      return ['Expiry.', `${metric} ends within ${noticeDays ?? 0} days.`]
    default:
      return [`${capitalize(code.replaceAll('-', ' '))}.`, metric]
  }
}

/** All that there are; what each means stands in docs/operations.md. */
export const ALERT_CODES: ReadonlySet<string> = new Set([
  'drift',
  'after-rollout',
  'devices-silent',
  'gateway-overreach',
  'gateway-quarantined',
  'gateway-silent',
  'identity-shared',
  'expiry',
])

/** Where it says what each alert means, what to do and when it ends. */
export const ALERT_RUNBOOK = 'docs/operations.md#alerts'

/** What to do about some of them has a section of its own. */
const RUNBOOKS: Readonly<Record<string, string>> = {
  'after-rollout': 'docs/operations.md#while-it-runs',
  'devices-silent': 'docs/operations.md#a-whole-site-a-gateway-a-board',
  'gateway-silent': 'docs/operations.md#gateways',
  'gateway-overreach': 'docs/operations.md#a-gateway-that-is-not-to-be-believed',
  'gateway-quarantined': 'docs/operations.md#a-gateway-that-is-not-to-be-believed',
  'identity-shared': 'docs/operations.md#replace-a-board-or-the-flash-of-one',
  expiry: 'docs/operations.md#what-ends',
}
export const runbookOf = (code: string): string => RUNBOOKS[code] ?? ALERT_RUNBOOK

/** chosen: a certificate or a root that ends within a week takes the fleet with it */
const URGENT_DAYS = 7
/** Without these no device takes an update. */
const OF_ALL_UPDATES = /^(root|targets)$/

/** P0: no device can be updated; P1: devices get worse or somebody lies, act now; P2: today; P3: there is time. */
export function severityOf({ code, metric, numbers }: Pick<AlertRecord, 'code' | 'metric' | 'numbers'>): AlertSeverity {
  switch (code) {
    case 'after-rollout':
    case 'gateway-overreach':
    case 'gateway-quarantined':
      return 'P1'
    case 'expiry': {
      const days = numbers.noticeDays ?? 0
      if (days === 0 && OF_ALL_UPDATES.test(metric)) return 'P0'
      return days <= URGENT_DAYS ? 'P1' : 'P3'
    }
    default:
      return 'P2'
  }
}
