import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bytesToHex } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { releaseOf } from '../../model/pack.ts'
import type { CloudApi } from '../cloud-api.ts'
import { fileFailure } from '../failure.ts'
import { KeyFolder } from '../keys/key-folder.ts'
import { KeyLifecycle } from '../keys/key-lifecycle.ts'
import { RepositoryFolder } from '../keys/repository-folder.ts'
import { publishRepository } from '../keys/repository-publish.ts'
import { SigningCeremony } from '../keys/signing-ceremony.ts'
import { publishRelease } from '../release/release-publication.ts'
import { storyBundle } from './story-bundles.ts'

const SILENT = (): void => undefined

/** The story's operator with the offline keys: what `kinglet keys` and `kinglet release add` do, in one process, so that a key which
 *  was made need not be opened again. */
export class StoryRepository {
  readonly #api: CloudApi
  readonly #repository: RepositoryFolder
  readonly #lifecycle: KeyLifecycle

  private constructor(api: CloudApi, repository: RepositoryFolder, lifecycle: KeyLifecycle) {
    this.#api = api
    this.#repository = repository
    this.#lifecycle = lifecycle
  }

  /** Makes keys and the first root in `dir` (`keys/`, `repo/`, `passphrase`) and publishes it.
   *  @param cloudDir data folder of the cloud
   *  @param clock the fleet's time, since the cloud judges expiry by it
   */
  static async found(options: {
    readonly dir: string
    readonly cloudDir: string
    readonly api: CloudApi
    readonly clock: Clock
    readonly random: SecureRandom
  }): Promise<StoryRepository> {
    const { dir, cloudDir, api, clock, random } = options
    const passphrase = bytesToHex(random.bytes(16))
    try {
      // For whoever keeps the data and goes on with `kinglet keys`.
      writeFileSync(join(dir, 'passphrase'), `${passphrase}\n`, { mode: 0o600, flag: 'wx' })
    } catch (cause) {
      throw fileFailure(join(dir, 'passphrase'), cause)
    }
    const folder = new KeyFolder(join(dir, 'keys'), { read: async () => passphrase }, random)
    const repository = storyRepositoryFolder(dir)
    const parts = { folder, repository, clock, print: SILENT }
    const lifecycle = new KeyLifecycle({ ...parts, ceremony: new SigningCeremony(parts) })
    await lifecycle.init({
      cloudKeyFile: join(cloudDir, 'keys', 'online.pub.json'),
      // Chosen: sealing a key takes a third of a second on purpose, and nobody else holds one here.
      rootKeys: 1,
      rootThreshold: 1,
      targetsKeys: 1,
      rootKeyFiles: [],
    })
    await publishRepository(repository, api)
    return new StoryRepository(api, repository, lifecycle)
  }

  /** What the factory builds into devices. */
  get firstRoot(): Uint8Array {
    return new Uint8Array(readFileSync(join(this.#repository.path, 'metadata', '1.root.json')))
  }

  /** Releases a bundle of the story. The cloud never sees a key that could.
   *  @param family that it belongs to; undefined: that of its parent */
  async release(name: string, family?: string): Promise<void> {
    const { bytes, manifest } = storyBundle(name)
    const content = releaseOf(bytes, manifest)
    const [api, repository, lifecycle] = [this.#api, this.#repository, this.#lifecycle]
    await publishRelease(bytes, content, {
      ...{ api, repository, lifecycle, family },
      ...{ parent: manifest.parent, patchFrom: 'cloud', print: SILENT },
    })
  }
}

export const storyRepositoryFolder = (dir: string): RepositoryFolder => new RepositoryFolder(join(dir, 'repo'))
