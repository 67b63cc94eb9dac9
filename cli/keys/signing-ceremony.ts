import { basename } from 'node:path'
import { bytesEqual } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import { present } from '../../contract/present.ts'
import { DIRECTOR_FIELD } from '../../contract/repository-target.ts'
import { writeFileDurably } from '../../platform/durable-file.ts'
import { addSignature, encodeDocument, type OfflineDocument, signedBytes } from '../../release/tuf-document.ts'
import { CommandFailure } from '../failure.ts'
import type { KeyFolder } from './key-folder.ts'
import { short } from './key-trust.ts'
import { missingSignatures, type RepositoryChange, signFiles } from './repository-change.ts'
import { type RepositoryFolder, readMetadataFile } from './repository-folder.ts'

export interface CeremonyParts {
  readonly folder: KeyFolder
  readonly repository: RepositoryFolder
  readonly clock: Clock
  readonly print: (line: string) => void
}

/** Brings signatures together: signs a change with the keys that are here, and takes it into the history when it is complete; what is
 *  not waits in `staged/` for signatures from elsewhere. */
export class SigningCeremony {
  readonly #parts: CeremonyParts

  constructor(parts: CeremonyParts) {
    this.#parts = parts
  }

  /** Signs a change and takes it into the history, or stages it for the signatures that are elsewhere. It is signed before it is staged:
   *  what fails on the way (a wrong passphrase, a signer that does not answer) leaves nothing that waits. */
  async finish(change: RepositoryChange): Promise<void> {
    const { folder, repository } = this.#parts
    const documents = change.documents()
    await signFiles(repository.state(), documents, folder)
    const history = repository.history().length
    try {
      repository.stage(documents)
      this.#commit(undefined)
    } catch (cause) {
      // What nobody waits for must not stand in the way of the next change.
      if (repository.history().length === history) repository.discard()
      throw cause
    }
  }

  /** Signs what is staged here, or files that came from elsewhere, with every key of the folder for their role. */
  async sign(files: readonly string[]): Promise<void> {
    const { folder, repository, print } = this.#parts
    if (files.length === 0) {
      if (repository.staged().length === 0) throw new CommandFailure('nothing waits for signatures')
      return this.#signStaged()
    }
    for (const path of files) {
      const { role, document } = readMetadataFile(path)
      const keys = folder.list().filter((key) => key.role === role)
      if (keys.length === 0) throw new CommandFailure(`${folder.path} has no key for ${role}`)
      for (const line of summary(role, document)) print(line)
      for (const { keyId } of keys) {
        const signer = await folder.signer(keyId)
        addSignature(
          document,
          keyId,
          await present(signer, `the key ${keyId} of this folder`).sign(signedBytes(document)),
        )
        print(`  signed by ${keyId}`)
      }
      writeFileDurably(path, encodeDocument(document))
    }
    print('send the file back: "kinglet keys collect FILE" takes its signatures where the repository is')
  }

  /** Takes the signatures of copies of staged files that were signed elsewhere. */
  async collect(files: readonly string[]): Promise<void> {
    const { repository, print } = this.#parts
    const staged = repository.staged()
    for (const path of files) {
      const copy = readMetadataFile(path)
      const mine = staged.find((file) => basename(file.path) === basename(path))
      if (mine === undefined) throw new CommandFailure(`${basename(path)} does not wait for signatures here`)
      if (!bytesEqual(signedBytes(mine.document), signedBytes(copy.document))) {
        throw new CommandFailure(`${path} has another content than ${mine.path}`, {
          hint: 'signatures count for the content that was signed; send the staged file again',
        })
      }
      for (const { keyID, sig } of Object.values(copy.document.metadata.signatures)) {
        addSignature(mine.document, keyID, sig)
        print(`${basename(path)}: signature of ${keyID}`)
      }
      writeFileDurably(mine.path, encodeDocument(mine.document))
    }
    return this.#signStaged()
  }

  async #signStaged(): Promise<void> {
    const { folder, repository } = this.#parts
    const staged = repository.staged()
    await signFiles(repository.state(), staged, folder)
    for (const { path, document } of staged) writeFileDurably(path, encodeDocument(document))
    this.#commit('the change stays in staged/; "kinglet keys discard" gives it up')
  }

  /** Takes what is staged into the history when it is complete, and says who signs next when it is not. */
  #commit(hint: string | undefined): void {
    const { repository, clock, print } = this.#parts
    const state = repository.state()
    const staged = repository.staged()
    const committed = repository.commit(clock.wallMs())
    if (committed.ok) {
      print(`complete: ${committed.value.join(', ')}`)
      return
    }
    if (committed.error.code !== 'bad-signature') {
      throw new CommandFailure(`${committed.error.code}: ${committed.error.detail}`, {
        ...(hint !== undefined && { hint }),
      })
    }
    for (const { file, have, threshold, keyIds } of missingSignatures(state, staged)) {
      print(`waiting: ${file} has ${have} of ${threshold} signatures; a holder of one of these signs it next:`)
      for (const keyId of keyIds) print(`  ${keyId}`)
    }
    print(`send the files of ${repository.path}/staged to them: "kinglet keys sign FILE --keys THEIR-FOLDER"`)
  }
}

/** What a holder of a key is about to sign. */
function summary(role: string, { content }: OfflineDocument): string[] {
  const lines = [`${role} ${content.version}, expires ${content.expires}`]
  if (content._type === 'root') {
    for (const [name, { keyids, threshold }] of Object.entries(content.roles)) {
      lines.push(`  ${name}: ${threshold} of ${keyids.map(short).join(', ')}`)
    }
    const director = content[DIRECTOR_FIELD]?.keys.map(({ keyId }) => short(keyId)).join(', ')
    lines.push(`  director: ${director ?? 'nobody'}`)
    return lines
  }
  for (const { name, paths, keyids } of content.delegations?.roles ?? []) {
    lines.push(`  ${name} (${paths.join(', ')}): ${keyids.map(short).join(', ')}`)
  }
  for (const [path, { hashes }] of Object.entries(content.targets)) lines.push(`  ${path} ${short(hashes.sha256)}`)
  return lines
}
