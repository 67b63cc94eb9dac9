import { sha256Hex } from '../../contract/bytes.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { PatchVersion } from '../../contract/patch/patch-header.ts'
import type { ReleasePatch } from '../../contract/release.ts'
import { makePatch, PatchMaker, type PatchProgress } from '../../release/patch/make-patch.ts'
import type { CloudApi } from '../cloud-api.ts'
import { CommandFailure } from '../failure.ts'
import type { KeyLifecycle } from '../keys/key-lifecycle.ts'
import type { ModelView } from './model-view.ts'

/** An older bundle that patches may begin from. */
export interface PatchBase {
  /** for people */
  readonly name: string
  readonly bundle: Uint8Array
}

/** A patch and what the release document is to say of it. */
export interface MadePatch extends ReleasePatch {
  readonly version: PatchVersion
  readonly data: Uint8Array
  /** for people */
  readonly from: string
}

const NO_BASE = 'no base'

/** Bytes that the entry of a patch takes in the metadata, which every device of a repository reads. */
const ENTRY_BYTES = 180

/** Makes the patches of a release: from each base where that is smaller than the compact full image, and the compact full image where
 *  that is smaller than the bundle; of version 1, which every device reads, and then those of version 2 that save more than their
 *  entry takes. What is not smaller costs metadata and saves nothing.
 *  @param bases at most LIMITS.releasePatches - 1 are used, the last ones */
export function makePatches(
  bundle: Uint8Array,
  bases: readonly PatchBase[],
  onProgress: PatchProgress = () => undefined,
): readonly MadePatch[] {
  const own = sha256Hex(bundle)
  const hashed = bases
    .slice(1 - LIMITS.releasePatches)
    .map((base) => ({ ...base, sha256: sha256Hex(base.bundle) }))
    .filter(({ sha256 }, i, all) => sha256 !== own && all.findIndex((other) => other.sha256 === sha256) === i)
  let done = 0
  const part = (i: number) => (share: number) => {
    // The second version begins where the plan was done, which the first one has passed.
    done = Math.max(done, (i + share) / (hashed.length + 1))
    onProgress(done)
  }
  const compact = versionsOf(new PatchMaker(null, bundle, part(0)), null, NO_BASE)
  const patches = hashed.map(({ name, bundle: base, sha256 }, i) =>
    versionsOf(new PatchMaker(base, bundle, part(1 + i)), sha256, name),
  )
  const smaller = (version: PatchVersion): MadePatch[] => {
    const full = compact[version]
    const most = Math.min(full.bytes, bundle.length)
    const small = patches.map((each) => each[version]).filter(({ bytes }) => bytes < most)
    return full.bytes < bundle.length ? [...small, full] : small
  }
  const first = smaller(1)
  const later = smaller(2).filter(
    ({ base, bytes }) => bytes + ENTRY_BYTES < (first.find((each) => each.base === base)?.bytes ?? bundle.length),
  )
  onProgress(1)
  return [...first, ...later]
}

function versionsOf(maker: PatchMaker, base: string | null, from: string): Readonly<Record<PatchVersion, MadePatch>> {
  const made = (version: PatchVersion): MadePatch => {
    const data = maker.patch(version)
    return { version, base, sha256: sha256Hex(data), bytes: data.length, data, from }
  }
  return { 1: made(1), 2: made(2) }
}

/** The very patches that a signed document names, as when a release is added again: those that were kept, and the others made anew; a bundle
 *  that was archived meanwhile is still a base, and one that came since is none. What the cloud has already is left out.
 *  @param kept patches by hash, as KeptPatches has them
 *  @throws CommandFailure when a patch was not kept and cannot be made any more, as by another version of this program */
export async function repeatPatches(
  bundle: Uint8Array,
  { release: { name, version, patches = [] }, later }: NonNullable<ReturnType<KeyLifecycle['release']>>,
  api: CloudApi,
  kept: (sha256: string) => Uint8Array | undefined,
): Promise<readonly MadePatch[]> {
  const path = `/v1/models/${name}/${version}/patches`
  const { patches: known } = await api.get<{ patches: { sha256: string; stored: boolean }[] }>(path)
  const stored = new Set(known.filter((patch) => patch.stored).map(({ sha256 }) => sha256))
  const made: MadePatch[] = []
  for (const patch of [...patches, ...later]) {
    const patchVersion = later.includes(patch) ? 2 : 1
    if (stored.has(patch.sha256)) continue
    const data = kept(patch.sha256) ?? (await madeAgain(patchVersion, bundle, patch.base, api))
    if (sha256Hex(data) !== patch.sha256) {
      throw new CommandFailure(`a patch that ${name} ${version} was signed with cannot be made again`, {
        hint: 'repeat it with the repository folder that it was signed in, or pack the bundle with a higher version and add that',
      })
    }
    made.push({ ...patch, version: patchVersion, data, from: patch.base?.slice(0, 16) ?? NO_BASE })
  }
  return made
}

const madeAgain = async (
  version: PatchVersion,
  bundle: Uint8Array,
  base: string | null,
  api: CloudApi,
): Promise<Uint8Array> => makePatch(base === null ? null : await fetchBundle(api, base), bundle, { version })

type Base = Pick<ModelView, 'name' | 'version' | 'sha256' | 'state'>

/** Bundles of the releases that devices of a family may run: those that are not archived.
 *  @param models releases of the family, oldest first */
export async function basesInCloud(api: CloudApi, models: readonly Base[]): Promise<readonly PatchBase[]> {
  const current = models.filter(({ state }) => state !== 'archived')
  const bases: PatchBase[] = []
  for (const { name, version, sha256 } of current.slice(1 - LIMITS.releasePatches)) {
    bases.push({ name: `${name} ${version}`, bundle: await fetchBundle(api, sha256) })
  }
  return bases
}

async function fetchBundle(api: CloudApi, sha256: string): Promise<Uint8Array> {
  const bundle = await api.getBytes(`/v1/artifacts/${sha256}`, LIMITS.bundleBytes)
  if (sha256Hex(bundle) !== sha256) throw new CommandFailure(`the cloud's ${sha256} is another file`)
  return bundle
}

/** The patches for people: base, bytes, share of the whole bundle. */
export function patchLines(patches: readonly MadePatch[], bundleBytes: number): string[] {
  if (patches.length === 0) return ['no patch is smaller than the bundle']
  const rows = patches.map(({ version, from, bytes }) => [
    version === 1 ? from : `${from} (version ${version})`,
    `${bytes}`,
    `${((100 * bytes) / bundleBytes).toFixed(1)} %`,
  ])
  const table = [['patch from', 'bytes', 'of the bundle'], ...rows]
  const widths = [0, 1, 2].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)))
  const padded = (cell: string, column: number): string =>
    column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)
  return table.map((row) => row.map(padded).join('  '))
}
