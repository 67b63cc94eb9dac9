import { type ContractError, contractError } from '../contract/errors.ts'
import { parseMetadataFile } from '../contract/metadata-file.ts'
import { present } from '../contract/present.ts'
import { err, ok, type Result } from '../contract/result.ts'
import { matchesPattern } from '../contract/tuf/delegation.ts'
import { parseRoot, parseTargets, type RootDocument, type TargetsDocument, verifyBy } from './tuf-document.ts'

/** A metadata file as an operator sends it. */
export interface MetadataUpload {
  readonly file: string
  readonly content: Uint8Array
}

/** What devices are to trust: the newest root, and the newest targets of each role by name (`targets` or a family). */
export interface RepositoryState {
  readonly root: RootDocument | undefined
  readonly targets: ReadonlyMap<string, TargetsDocument>
}

export interface ReviewedFile {
  readonly role: string
  readonly version: number
  readonly content: Uint8Array
}

export interface Review {
  readonly root: RootDocument
  readonly targets: ReadonlyMap<string, TargetsDocument>
  /** what is to be stored, in the order it was sent */
  readonly accepted: readonly ReviewedFile[]
}

/** Judges metadata as a client would that follows every step: each file by the keys in force where it stands in the sequence,
 *  each version one above the last; and at the end everything current must hold together under the final root, or no device could
 *  update. The first file that a cloud sees of targets or a family may have any version: that is how an operator fills a new cloud.
 *  @returns `invalid-request` | `malformed` | `too-large` | `bad-signature` | `conflict` | `expired` | `contradicts-release`
 */
export function reviewUploads(
  state: RepositoryState,
  uploads: readonly MetadataUpload[],
  nowMs: number,
): Result<Review, ContractError> {
  let { root } = state
  const targets = new Map(state.targets)
  const accepted: ReviewedFile[] = []
  for (const { file, content } of uploads) {
    const name = parseMetadataFile(file)
    if (!name.ok) return name
    const { role, version } = name.value
    if (version === undefined || role === 'snapshot') {
      return err(contractError('invalid-request', `${file}: snapshot and timestamp are made by the cloud`))
    }
    if (role === 'root') {
      const next = reviewRoot(root, content)
      if (!next.ok) return inFile(file, next.error)
      root = next.value
    } else {
      const delegator = role === 'targets' ? root : targets.get('targets')
      if (delegator === undefined) return err(contractError('conflict', `${file}: root and targets come first`))
      const next = reviewTargets(delegator, role, targets.get(role), content)
      if (!next.ok) return inFile(file, next.error)
      targets.set(role, next.value)
    }
    const read = role === 'root' ? root : targets.get(role)
    if (read?.content.version !== version) {
      return err(contractError('malformed', `${file} says that it is version ${read?.content.version}`))
    }
    accepted.push({ role, version, content })
  }
  if (root === undefined) return err(contractError('conflict', 'the root comes first'))
  const whole = reviewWhole(root, targets, nowMs)
  return whole.ok ? ok({ root, targets, accepted }) : whole
}

const inFile = (file: string, { code, detail }: ContractError) => err(contractError(code, `${file}: ${detail}`))

/** @see TUF 1.0.33 section 5.3: signed by the keys before and by its own, version one higher */
function reviewRoot(previous: RootDocument | undefined, content: Uint8Array): Result<RootDocument, ContractError> {
  const parsed = parseRoot(content)
  if (!parsed.ok) return parsed
  const root = parsed.value
  const follows = follow(previous?.content.version ?? 0, root.content.version)
  if (!follows.ok) return follows
  if (previous !== undefined) {
    const byFormer = verifyBy(previous, 'root', root)
    if (!byFormer.ok) return byFormer
  }
  const byItself = verifyBy(root, 'root', root)
  return byItself.ok ? ok(root) : byItself
}

function reviewTargets(
  delegator: RootDocument | TargetsDocument,
  role: string,
  previous: TargetsDocument | undefined,
  content: Uint8Array,
): Result<TargetsDocument, ContractError> {
  const parsed = parseTargets(content)
  if (!parsed.ok) return parsed
  const document = parsed.value
  if (previous !== undefined) {
    const follows = follow(previous.content.version, document.content.version)
    if (!follows.ok) return follows
  }
  const verified = verifyBy(delegator, role, document)
  if (!verified.ok) return verified
  if (role !== 'targets') {
    if (document.content.delegations !== undefined) {
      return err(contractError('malformed', `${role} delegates further; devices follow one delegation`))
    }
    const { delegations } = (delegator as TargetsDocument).content
    const { paths } = present(
      delegations?.roles.find(({ name }) => name === role),
      `the family ${role}`,
    )
    const stray = Object.keys(document.content.targets).find(
      (path) => !paths.some((pattern) => matchesPattern(path, pattern)),
    )
    if (stray !== undefined) return err(contractError('contradicts-release', `${stray} is not a path of ${role}`))
  }
  return ok(document)
}

const follow = (before: number, version: number): Result<void, ContractError> =>
  version === before + 1
    ? ok(undefined)
    : err(contractError('conflict', `version ${version} does not follow ${before === 0 ? 'nothing' : before}`))

/** Everything current must verify under the final root and be in date. */
function reviewWhole(
  root: RootDocument,
  targets: ReadonlyMap<string, TargetsDocument>,
  nowMs: number,
): Result<void, ContractError> {
  const top = targets.get('targets')
  if (top === undefined) return err(contractError('conflict', 'a root without targets serves no device'))
  const byRoot = verifyBy(root, 'targets', top)
  if (!byRoot.ok) return byRoot
  const dated: [string, string][] = [
    ['root', root.content.expires],
    ['targets', top.content.expires],
  ]
  for (const { name } of top.content.delegations?.roles ?? []) {
    const family = targets.get(name)
    if (family === undefined) return err(contractError('conflict', `targets delegate to ${name}, which is not there`))
    const byTargets = verifyBy(top, name, family)
    if (!byTargets.ok) return byTargets
    dated.push([name, family.content.expires])
  }
  const late = dated.find(([, expires]) => Date.parse(expires) <= nowMs)
  return late === undefined ? ok(undefined) : err(contractError('expired', `${late[0]} expired at ${late[1]}`))
}
