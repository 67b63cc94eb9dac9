import { NOISE_BIN_EDGES } from '../../contract/messages.ts'
import type { GatePolicy } from '../store/gate-policy.ts'
import type { FleetSlice, SliceBy, SliceName } from '../store/rollout-plan.ts'

/** Slices of a fleet: its boards, sites and environments, each judged by the same tests as the whole. What is harmed in one of them alone is
 *  diluted in the whole, or hidden where the others gain.
 *
 *  They are chosen before the start and frozen with the plan, as is which devices are in which: a test that is added or dropped by what it has
 *  seen keeps no promise. Who is exposed is drawn by lot over the whole fleet, so it is by lot in each slice too.
 */

/** What a device is in. Frozen when it joins a rollout. */
export interface SliceTraits {
  readonly board: string
  readonly site: string
  /** null: it has reported no background level */
  readonly environment: string | null
}

const DIMENSIONS: readonly SliceBy[] = ['board', 'site', 'environment']

/** chosen: more of one kind are the largest so many; each divides what the kind has of the error probability */
const SLICES_OF_A_KIND_MAX = 40

/** chosen: a room at night, an office, a street or a machine; background level of a device's windows in the median, dBFS */
const QUIET_BELOW = -60
const LOUD_FROM = -40

/** Noise class of a device.
 *  @param noiseBins windows by background level, see NOISE_BIN_EDGES
 *  @returns null where it has counted none */
export function environmentOf(noiseBins: readonly number[]): string | null {
  const total = noiseBins.reduce((sum, windows) => sum + windows, 0)
  if (total <= 0) return null
  let below = 0
  const median = noiseBins.findIndex((windows) => {
    below += windows
    return 2 * below >= total
  })
  const from = NOISE_BIN_EDGES[median - 1] ?? Number.NEGATIVE_INFINITY
  return from < QUIET_BELOW ? 'quiet' : from < LOUD_FROM ? 'medium' : 'loud'
}

/** Chooses the slices of a rollout: of each kind those with enough devices, unless one is the whole fleet. Kinds share what slices have of the
 *  error probability alike, and the slices of a kind share its part alike, so that a hundred sites leave the boards theirs.
 *  @param devices that take part
 *  @returns with weights that add up to the share of the policy; empty where it has none or there is nothing to slice */
export function chooseSlices(policy: Pick<GatePolicy, 'slices'>, devices: readonly SliceTraits[]): FleetSlice[] {
  const { share, minDevices } = policy.slices
  if (share === 0) return []
  const kinds = DIMENSIONS.map((by) => {
    const counts = new Map<string, number>()
    for (const device of devices) {
      const value = device[by]
      if (value !== null && value !== '') counts.set(value, (counts.get(value) ?? 0) + 1)
    }
    return [...counts]
      .filter(([, count]) => count >= minDevices && count < devices.length)
      .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
      .slice(0, SLICES_OF_A_KIND_MAX)
      .map(([value, count]) => ({ by, value, devices: count }))
  }).filter((slices) => slices.length > 0)
  return kinds.flatMap((slices) => slices.map((slice) => ({ ...slice, weight: share / kinds.length / slices.length })))
}

/** Finds the slices of a device, as indices into those of the plan. */
export function slicesOf(
  slices: readonly SliceName[],
): (device: Readonly<Record<SliceBy, string | null>>) => readonly number[] {
  const index = new Map(slices.map(({ by, value }, i) => [`${by} ${value}`, i]))
  return (device) =>
    DIMENSIONS.flatMap((by) => {
      const i = index.get(`${by} ${device[by] ?? ''}`)
      return i === undefined ? [] : [i]
    })
}

/** The rows of each slice, in one pass. */
export function bySlice<T extends { readonly slices?: readonly number[] | undefined }>(
  rows: readonly T[],
  count: number,
): T[][] {
  const parts: T[][] = Array.from({ length: count }, () => [])
  for (const row of rows) for (const i of row.slices ?? []) parts[i]?.push(row)
  return parts
}
