import type { ReleaseRisk } from '../../cloud/store/approval-store.ts'
import { sha256Hex } from '../../contract/bytes.ts'
import type { PatchVersion } from '../../contract/patch/patch-header.ts'
import type { Release } from '../../contract/release.ts'
import type { PatchProgress } from '../../release/patch/make-patch.ts'
import type { CloudApi } from '../cloud-api.ts'
import type { KeyLifecycle } from '../keys/key-lifecycle.ts'
import { noRepository } from '../keys/repository-change.ts'
import type { RepositoryFolder } from '../keys/repository-folder.ts'
import { publishRepository } from '../keys/repository-publish.ts'
import { KeptPatches } from './kept-patches.ts'
import type { ModelView } from './model-view.ts'
import {
  basesInCloud,
  type MadePatch,
  makePatches,
  type PatchBase,
  patchLines,
  repeatPatches,
} from './release-patches.ts'

/** Where patches begin: at every release of the family that the cloud lists and has not archived, or at these bundles; `none`: no patch
 *  is made, not even the compact full image. */
export type PatchFrom = 'cloud' | 'none' | readonly PatchBase[]

/** Brings a bundle to where it can be rolled out: uploads it, makes its patches, signs both into the image repository, publishes that,
 *  uploads the patches and registers the release. Each step may be repeated, so what failed on the way is done by the same call again.
 *  @param content the release without patches
 *  @returns the registered release, or undefined while signatures from elsewhere are missing
 */
export async function publishRelease(
  bundle: Uint8Array,
  content: Release,
  {
    api,
    repository,
    lifecycle,
    patchFrom,
    verifier,
    family,
    risk,
    parent,
    print,
    onProgress,
  }: {
    readonly api: CloudApi
    readonly repository: RepositoryFolder
    readonly lifecycle: KeyLifecycle
    readonly patchFrom: PatchFrom
    /** bundle that is to judge its wakes */
    readonly verifier?: Uint8Array | undefined
    /** model family; undefined: the cloud derives it */
    readonly family?: string | undefined
    /** that it has at least; undefined: what its family has */
    readonly risk?: ReleaseRisk | undefined
    /** sha256 of the bundle that it was trained from; null: none */
    readonly parent?: string | null
    readonly print: (line: string) => void
    /** how far its patches are, 1 when they are made */
    readonly onProgress?: PatchProgress
  },
): Promise<ModelView | undefined> {
  if (repository.isEmpty) throw noRepository()
  // First: a wrong address or token is found before anything is signed, and a target without its bundle would not be taken.
  await api.put(`/v1/artifacts/${content.sha256}`, bundle)
  const judge = verifier && { sha256: sha256Hex(verifier), bytes: verifier.length }
  if (verifier !== undefined && judge !== undefined) await api.put(`/v1/artifacts/${judge.sha256}`, verifier)
  const { name, version } = content
  const kept = new KeptPatches(repository.path)
  const signed = lifecycle.release(content)
  let patches: readonly MadePatch[] = []
  // What was signed once is never changed: neither are its patches.
  let named = signed?.release.patches
  let later = signed?.later ?? []
  if (signed === undefined) {
    const role = lifecycle.familyOf(content)
    const models = patchFrom === 'cloud' ? (await api.get<{ models: ModelView[] }>('/v1/models')).models : []
    const own = family ?? models.find((model) => model.name === name || model.sha256 === parent)?.family
    const bases = models.filter(
      (model) => lifecycle.familyOf(model) === role && (own === undefined || model.family === own),
    )
    patches =
      patchFrom === 'none'
        ? []
        : makePatches(bundle, patchFrom === 'cloud' ? await basesInCloud(api, bases) : patchFrom, onProgress)
    if (patchFrom !== 'none') for (const line of patchLines(patches, bundle.length)) print(line)
    // Before they are signed: what is signed and lost could not be published.
    kept.keep(patches)
    const entries = (of: PatchVersion) =>
      patches.filter(({ version }) => version === of).map(({ base, sha256, bytes }) => ({ base, sha256, bytes }))
    if (patches.length > 0) named = entries(1)
    later = entries(2)
  }
  await lifecycle.addRelease({ ...content, ...(named && { patches: named }) }, judge, later)
  print(await publishRepository(repository, api))
  if (repository.staged().length > 0) {
    print('when the signatures are there: "kinglet release add" again')
    return undefined
  }
  if (signed !== undefined) patches = await repeatPatches(bundle, signed, api, (sha256) => kept.get(sha256))
  for (const { sha256, data } of patches) await api.put(`/v1/models/${name}/${version}/patches/${sha256}`, data)
  const wish = { name, version, ...(family !== undefined && { family }), ...(risk !== undefined && { risk }) }
  const added = await api.postAgain<ModelView>('/v1/models', wish)
  kept.drop([...(named ?? []), ...later].map(({ sha256 }) => sha256))
  return added
}
