import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import * as z from 'zod'
import type { ContractError } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import { metadataFileName, parseMetadataFile } from '../../contract/metadata-file.ts'
import { ok, type Result } from '../../contract/result.ts'
import { makeFolderDurably, writeFileDurably } from '../../platform/durable-file.ts'
import { type MetadataUpload, type RepositoryState, reviewUploads } from '../../release/repository-review.ts'
import {
  encodeDocument,
  type OfflineDocument,
  parseRoot,
  parseTargets,
  type TargetsDocument,
} from '../../release/tuf-document.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { readJsonFile } from '../json-file.ts'

/** A metadata file that is authored and perhaps not yet signed by enough keys. */
export interface StagedFile {
  readonly role: string
  readonly path: string
  readonly document: OfflineDocument
}

const namesSchema = z.array(z.string().refine((name) => parseMetadataFile(name).ok, 'is no metadata file')).max(100_000)

/** The operator's side of the image repository: every offline file that was ever complete, in order (`metadata/`, `history.json`), and
 *  at most one change that waits for signatures (`staged/`). */
export class RepositoryFolder {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  get isEmpty(): boolean {
    return this.history().length === 0 && this.#names('staged/order.json').length === 0
  }

  /** Names of complete files, oldest first. */
  history(): readonly string[] {
    return this.#names('history.json')
  }

  #names(file: string): readonly string[] {
    const path = join(this.path, file)
    if (!existsSync(path)) return []
    const parsed = namesSchema.safeParse(readJsonFile(path))
    if (!parsed.success) throw new CommandFailure(`${path} is damaged`, { hint: 'restore the folder from a backup' })
    return parsed.data
  }

  /** The newest complete file of each role. */
  state(): RepositoryState {
    const newest = new Map<string, string>()
    for (const name of this.history()) newest.set(roleOfFile(name), name)
    const targets = new Map<string, TargetsDocument>()
    let root: RepositoryState['root']
    for (const [role, name] of newest) {
      const { document } = readMetadataFile(join(this.path, 'metadata', name))
      if (document.kind === 'root') root = document
      else targets.set(role, document)
    }
    return { root, targets }
  }

  staged(): readonly StagedFile[] {
    return this.#names('staged/order.json').map((name) => readMetadataFile(join(this.path, 'staged', name)))
  }

  /** Puts a change aside until it is signed. */
  stage(files: readonly { readonly role: string; readonly document: OfflineDocument }[]): void {
    this.assertNothingStaged()
    const named = files.map(({ role, document }) => ({
      name: metadataFileName(role, document.content.version),
      document,
    }))
    try {
      makeFolderDurably(join(this.path, 'staged'))
      makeFolderDurably(join(this.path, 'metadata'))
      for (const { name, document } of named)
        writeFileDurably(join(this.path, 'staged', name), encodeDocument(document))
      // Last: without it there is no change.
      writeFileDurably(join(this.path, 'staged', 'order.json'), `${JSON.stringify(named.map(({ name }) => name))}\n`)
    } catch (cause) {
      throw fileFailure(this.path, cause)
    }
  }

  assertNothingStaged(): void {
    const waiting = this.#names('staged/order.json')
    if (waiting.length === 0) return
    throw new CommandFailure(`a change waits for signatures: ${waiting.join(', ')} in ${join(this.path, 'staged')}`, {
      hint: 'finish it with "kinglet keys sign" or "kinglet keys collect FILE", or give it up with "kinglet keys discard"',
    })
  }

  discard(): readonly string[] {
    const names = this.#names('staged/order.json')
    rmSync(join(this.path, 'staged'), { recursive: true, force: true })
    return names
  }

  /** Makes the staged change part of the history when it would pass with the cloud.
   *  @returns names of the files, or what the cloud would say; `bad-signature` when signatures are missing */
  commit(nowMs: number): Result<readonly string[], ContractError> {
    const staged = this.staged()
    const uploads = staged.map(({ path, document }) => ({ file: basename(path), content: encodeDocument(document) }))
    const reviewed = reviewUploads(this.state(), uploads, nowMs)
    if (!reviewed.ok) return reviewed
    const names = uploads.map(({ file }) => file)
    try {
      for (const { file, content } of uploads) writeFileDurably(join(this.path, 'metadata', file), content)
      writeFileDurably(join(this.path, 'history.json'), `${JSON.stringify([...this.history(), ...names])}\n`)
    } catch (cause) {
      throw fileFailure(this.path, cause)
    }
    this.discard()
    return ok(names)
  }

  /** What a cloud with these versions does not have yet, in the order it can take it. A cloud that has nothing gets every root and
   *  the newest of the rest. */
  uploadsFor(versions: Readonly<Record<string, number>>): readonly MetadataUpload[] {
    const history = this.history()
    const newest = new Map(history.map((name) => [roleOfFile(name), name]))
    for (const [role, name] of newest) {
      const here = parseMetadataFile(name)
      if (here.ok && (versions[role] ?? 0) > (here.value.version ?? 0)) {
        throw new CommandFailure(`the cloud has ${role} ${versions[role]}, ${this.path} has ${here.value.version}`, {
          hint: 'this folder is an older copy: work on the one that was published last',
        })
      }
    }
    const wanted = history.filter((name) => {
      const role = roleOfFile(name)
      const known = versions[role]
      const version = parseMetadataFile(name)
      if (known !== undefined) return version.ok && (version.value.version ?? 0) > known
      return role === 'root' || newest.get(role) === name
    })
    return wanted.map((file) => {
      const path = join(this.path, 'metadata', file)
      readMetadataFile(path)
      return { file, content: new Uint8Array(readFileSync(path)) }
    })
  }
}

function roleOfFile(name: string): string {
  const parsed = parseMetadataFile(name)
  if (!parsed.ok) throw new Error(parsed.error.detail)
  return parsed.value.role
}

/** Reads one root, targets or family file, named as the repository names it. */
export function readMetadataFile(path: string): StagedFile {
  const name = parseMetadataFile(basename(path))
  if (!name.ok || name.value.version === undefined || name.value.role === 'snapshot') {
    throw new CommandFailure(`${path} is no root or targets file`, {
      hint: 'files are named VERSION.ROLE.json, for example 2.root.json; keep the name when you copy one',
    })
  }
  let content: Uint8Array
  try {
    if (statSync(path).size > LIMITS.metadataFileBytes) throw new CommandFailure(`${path} is too large for metadata`)
    content = new Uint8Array(readFileSync(path))
  } catch (cause) {
    throw cause instanceof CommandFailure ? cause : fileFailure(path, cause)
  }
  const { role, version } = name.value
  const document: Result<OfflineDocument, ContractError> = role === 'root' ? parseRoot(content) : parseTargets(content)
  if (!document.ok) throw new CommandFailure(`${path}: ${document.error.code}: ${document.error.detail}`)
  if (document.value.content.version !== version) {
    throw new CommandFailure(`${path} says that it is version ${document.value.content.version}`)
  }
  return { role, path, document: document.value }
}
