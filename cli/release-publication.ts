import type { Release } from '../contract/release.ts'
import type { CloudApi } from './cloud-api.ts'
import type { KeyLifecycle } from './key-lifecycle.ts'
import { noRepository } from './repository-change.ts'
import type { RepositoryFolder } from './repository-folder.ts'
import { publishRepository } from './repository-publish.ts'

/** A release as the cloud's registry shows it. */
export interface ModelView {
  readonly name: string
  readonly version: number
  readonly state: string
}

/** Brings a bundle to where it can be rolled out: uploads it, signs it into the image repository, publishes that and registers the
 *  release. Each step may be repeated, so what failed on the way is done by the same call again.
 *  @returns the registered release, or undefined while signatures from elsewhere are missing
 */
export async function publishRelease(
  bundle: Uint8Array,
  release: Release,
  {
    api,
    repository,
    lifecycle,
    print,
  }: {
    readonly api: CloudApi
    readonly repository: RepositoryFolder
    readonly lifecycle: KeyLifecycle
    readonly print: (line: string) => void
  },
): Promise<ModelView | undefined> {
  if (repository.isEmpty) throw noRepository()
  // First: a wrong address or token is found before anything is signed, and a target without its bundle would not be taken.
  await api.put(`/v1/artifacts/${release.sha256}`, bundle)
  await lifecycle.addRelease(release)
  print(await publishRepository(repository, api))
  if (repository.staged().length > 0) {
    print('when the signatures are there: "kinglet release add" again')
    return undefined
  }
  const { name, version } = release
  return api.post<ModelView>('/v1/models', { name, version })
}
