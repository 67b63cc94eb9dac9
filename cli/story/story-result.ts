/** The closing table of a story, as `--json` writes it. */
export interface StoryResult {
  /** whether the story held: every line of `checks` */
  ok: boolean
  scenario: string
  seed: number
  devices: number
  wallSeconds: number
  virtualHours: number
  rollouts: {
    model: string
    state: string
    reachedPercent: number
    devicesExposed: number
    hoursToDecision: number | null
    why: string
  }[]
  /** verifier-rejected wakes per listening hour: the fleet under drift before the good rollout, and after it */
  falseWakesPerHour: { calm: number | null; before: number | null; after: number | null }
  /** share of listening time in which the device was awake */
  dutyCycle: { calm: number | null; before: number | null; after: number | null }
  /** wakes per listening hour */
  wakesPerHour: { calm: number | null; before: number | null; after: number | null }
  bytesOnAir: { total: number; perDevice: number }
  /** downloads that were whole, how many of them were patches, and their bytes on the air: as they were, and as whole bundles */
  downloads: { count: number; patches: number; bytes: number; asBundlesBytes: number }
  energyJoulePerDeviceDay: number
  alerts: { code: string; metric: string; model: string | null; ratio: number; hoursAfterDrift: number | null }[]
  /** hours from the rise of the noise floor to the alert, and from the start of the bad rollout to its rollback */
  hoursToDetect: { drift: number | null; badModel: number | null }
  /** devices that ever ran the bad model */
  devicesEverOnBadModel: number
  restarts: { cloud: number; gateway: number }
  groundTruthMatches: boolean
  groundTruth: Record<string, { simulator: number; cloud: number }>
  /** windows inferred by the engine; all others were remembered */
  windowsInferred: number
  checks: readonly StoryCheck[]
}

/** Something that must hold, in a sentence. */
export interface StoryCheck {
  readonly what: string
  readonly holds: boolean
}

const number = (value: number | null, digits = 2): string => (value === null ? '–' : value.toFixed(digits))
const percent = (value: number | null): string => (value === null ? '–' : `${(100 * value).toFixed(1)} %`)
const bytes = (value: number): string =>
  value >= 1e6 ? `${(value / 1e6).toFixed(1)} MB` : `${(value / 1e3).toFixed(1)} kB`

function downloadWords({ count, patches, bytes: taken, asBundlesBytes }: StoryResult['downloads']): string {
  const times = taken === 0 ? '–' : `${(asBundlesBytes / taken).toFixed(1)} times as much`
  return `${bytes(taken)} for ${count} downloads, ${patches} of them patches; as whole bundles ${bytes(asBundlesBytes)}, ${times}`
}

/** The closing table for people. */
export function resultLines(result: StoryResult): string[] {
  const rows: [string, string][] = [
    [
      'false wakes per listening hour',
      `calm ${number(result.falseWakesPerHour.calm)}, under noise ${number(result.falseWakesPerHour.before)}, after the update ${number(result.falseWakesPerHour.after)}`,
    ],
    [
      'duty cycle',
      `calm ${percent(result.dutyCycle.calm)}, under noise ${percent(result.dutyCycle.before)}, after ${percent(result.dutyCycle.after)}`,
    ],
    [
      'time to detect',
      `drift ${number(result.hoursToDetect.drift, 1)} h, bad model ${number(result.hoursToDetect.badModel, 1)} h`,
    ],
    ['devices ever on the bad model', `${result.devicesEverOnBadModel} of ${result.devices}`],
    ['bytes on the air', `${bytes(result.bytesOnAir.total)} in all, ${bytes(result.bytesOnAir.perDevice)} a device`],
    ['bytes of downloads', downloadWords(result.downloads)],
    [
      'energy',
      `${number(result.energyJoulePerDeviceDay, 0)} J a device and day, estimated from published figures of the boards`,
    ],
    [
      'counters against ground truth',
      result.groundTruthMatches ? 'equal, every one' : `DIFFER: ${JSON.stringify(result.groundTruth)}`,
    ],
    ['restarts', `cloud ${result.restarts.cloud}, gateway ${result.restarts.gateway}`],
    [
      'run',
      `${number(result.virtualHours, 1)} h of fleet time in ${number(result.wallSeconds, 0)} s, ${result.windowsInferred} windows inferred`,
    ],
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  return [
    ...result.rollouts.map(
      ({ model, state, reachedPercent, devicesExposed, hoursToDecision }) =>
        `${model.padEnd(14)} ${state}, reached ${reachedPercent} %, ${devicesExposed} devices exposed, decided after ${number(hoursToDecision, 1)} h`,
    ),
    ...rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`),
    ...result.checks.map(({ what, holds }) => `${holds ? '✓' : '✗'} ${what}`),
  ]
}
