import { type ContractError, contractError } from '../../contract/errors.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { Signal as Declared, SignalPlace } from '../../contract/signals.ts'
import { type DeclaredSignal, type GatePolicy, POLICY_SIGNALS_MAX, type SignalPolicy } from '../store/gate-policy.ts'
import type { ReleaseRecord } from '../store/model-store.ts'
import { READ_ONLY } from './gate-defaults.ts'
import { type DeclaredPlaces, declaredPlaces, SIGNALS, signalOf } from './signals.ts'

/** Looks up what a policy names among what the candidate's bundle declares, and adds what else is declared: to be read and told, without a
 *  share of the error probability until somebody gives it one.
 *  @param before releases that the devices run, the most frequent first
 *  @returns `invalid-request`
 */
export function resolvePolicy(
  policy: GatePolicy,
  candidate: ReleaseRecord,
  before: readonly ReleaseRecord[],
): Result<GatePolicy, ContractError> {
  const own = declaredPlaces(candidate.signals)
  const others = before.map((release) => ({ release, places: declaredPlaces(release.signals) }))
  const metrics: SignalPolicy[] = []
  for (const { declared: _, ...metric } of policy.metrics) {
    const { name, worse } = metric
    if (metrics.some((each) => each.name === name)) return refused(`gates ${name} twice`)
    const fixed = signalOf(metric)
    if (fixed !== undefined) {
      if (worse !== undefined && worse !== fixed.worse) return refused(`${name}: ${fixed.worse} is what harms`)
      metrics.push(metric)
      continue
    }
    const place = own.get(name)
    if (place === undefined) return refused(`no signal "${name}" to gate; known: ${known(own)}`)
    const declared = gateable(place.signal, worse)
    if (typeof declared === 'string') return refused(`${name} ${declared}`)
    const stranger = others.find(({ places }) => !isAlike(place, places.get(name)))
    if (stranger !== undefined && gates(metric)) {
      const { release } = stranger
      return refused(
        `${release.name} ${release.version}, which devices run now, does not declare ${name} as ${candidate.name} ${candidate.version} does: there is nothing to compare with`,
      )
    }
    metrics.push({ ...metric, declared })
  }
  const [most] = others
  for (const metric of declaredGateable(own)) {
    const { name } = metric
    if (metrics.some((each) => each.name === name)) continue
    if (metrics.length >= POLICY_SIGNALS_MAX) break
    if (isAlike(own.get(name), most?.places.get(name))) metrics.push({ ...metric, ...READ_ONLY })
  }
  return ok({ ...policy, metrics })
}

/** Whether a signal can end or hold a rollout; one that cannot is only read. */
export const gates = ({ alphaRollback, alphaAdvance }: SignalPolicy): boolean => alphaRollback > 0 || alphaAdvance > 0

const refused = (detail: string): { ok: false; error: ContractError } => err(contractError('invalid-request', detail))

/** Names that a policy for the release may use. */
const known = (own: DeclaredPlaces): string =>
  [
    ...SIGNALS.map(({ name }) => name),
    ...[...own].flatMap(([name, { signal }]) => (signal.kind === 'histogram' ? [] : [name])),
  ].join(', ')

/** @param worse the direction that harms where the signal says none
 *  @returns why it cannot be gated, in words, where that is so */
function gateable(signal: Declared, worse?: DeclaredSignal['worse']): DeclaredSignal | string {
  if (signal.kind === 'histogram') return 'is a histogram: gates read counts, ratios and means'
  if (signal.harm !== null && worse !== undefined && worse !== signal.harm)
    return `says itself that ${signal.harm} harms`
  const harm = signal.harm ?? worse
  return harm === undefined
    ? 'declares no direction that harms: say which, "worse": "higher" or "worse": "lower"'
    : { signal, worse: harm }
}

/** What a model declares with a direction that harms, without what is said already by wakes in general. */
export const declaredGateable = (
  own: DeclaredPlaces,
): readonly { readonly name: string; readonly declared: DeclaredSignal }[] =>
  [...own].flatMap(([name, place]) => {
    const declared = gateable(place.signal)
    return typeof declared === 'string' || isSaidAlready(place, own) ? [] : [{ name, declared }]
  })

/** Whether two releases mean the same by a signal, in numbers that can be compared. */
const isAlike = (one: SignalPlace | undefined, other: SignalPlace | undefined): boolean =>
  one !== undefined && other !== undefined && meaning(one.signal) === meaning(other.signal)

function meaning(signal: Declared): string {
  const { name: _, unit: __, harm: ___, ...numbers } = signal
  return Object.entries(numbers).map(String).sort().join()
}

/** Verdicts of the only pipeline that wakes anybody are the gate's own false and verified wakes. */
function isSaidAlready({ signal }: SignalPlace, own: DeclaredPlaces): boolean {
  const isVerdict = (each: Declared): boolean => each.kind === 'count' && each.verdict !== undefined
  if (!isVerdict(signal)) return false
  return (
    new Set([...own.values()].filter((place) => isVerdict(place.signal)).map(({ pipeline }) => pipeline)).size === 1
  )
}
