import type { PublicKey } from '../../contract/signed.ts'
import type { CloudApi } from '../cloud-api.ts'
import { CommandFailure } from '../failure.ts'
import type { RepositoryFolder } from './repository-folder.ts'

/** `GET /v1/metadata` and the answers of its POSTs. */
export interface MetadataHeads {
  readonly versions: Readonly<Record<string, number>>
  readonly online: PublicKey
  readonly nextOnline: PublicKey | null
  readonly director: PublicKey
  readonly nextDirector: PublicKey | null
}

/** Sends the cloud what it does not have. @returns a line for people */
export async function publishRepository(repository: RepositoryFolder, api: CloudApi): Promise<string> {
  if (repository.history().length === 0) {
    throw new CommandFailure(`${repository.path} holds nothing complete to publish`, {
      hint: '"kinglet keys init" makes a repository; "kinglet keys sign" completes a change',
    })
  }
  const { versions } = await api.get<MetadataHeads>('/v1/metadata')
  const uploads = repository.uploadsFor(versions)
  if (uploads.length === 0) return 'the cloud has everything already'
  const decoder = new TextDecoder()
  const files = uploads.map(({ file, content }) => ({ file, content: decoder.decode(content) }))
  const after = await api.postAgain<MetadataHeads>('/v1/metadata', { files })
  const made = `snapshot ${after.versions.snapshot}, timestamp ${after.versions.timestamp}`
  return `published ${uploads.map(({ file }) => file).join(', ')}; the cloud made ${made}`
}
