import { decodeBundle } from '../../contract/bundle.ts'
import { bytesEqual, hexToBytes } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import {
  type BundleManifest,
  parseManifest,
  readManifest,
  requirementSha256,
  SECTIONS,
} from '../../contract/manifest.ts'
import { isPatchImage, readPatchHeader, sha256Half } from '../../contract/patch/patch-header.ts'
import { present } from '../../contract/present.ts'
import type { Release, ReleasePatch, ReleaseVerifier } from '../../contract/release.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import { verifierFits } from '../../model/wake-verifier.ts'
import { noFamily, unsaidFamily } from '../family.ts'
import { type Approval, type FamilyRisk, higherRisk, type ReleaseRisk } from '../store/approval-store.ts'
import { type ReleaseRecord, type ReleaseState, shareBoards } from '../store/model-store.ts'
import type { Store } from '../store/store.ts'
import type { ArtifactFolder } from './artifact-folder.ts'
import { APPROVALS, lacksOf, type ReleaseFacts, type ReleaseLack } from './release-gates.ts'

/** Which state may follow which by hand. Into production leads a rollout, or a hand where there is no production yet. */
const BY_HAND: Readonly<Record<ReleaseState, readonly ReleaseState[]>> = {
  candidate: ['staging', 'archived'],
  staging: ['production', 'archived'],
  production: [],
  archived: ['staging'],
}

/** A patch of a release, and whether its bytes are here. */
export interface PatchRecord extends ReleasePatch {
  readonly stored: boolean
}

/** What a release needs before devices get it. */
export interface ReleaseGates {
  /** its own, or its family's if that is higher */
  readonly risk: ReleaseRisk
  /** how many people have to approve it */
  readonly needed: number
  readonly approvals: readonly Approval[]
  readonly lacks: readonly ReleaseLack[]
}

/** Where releases are found: the image repository, whose offline keys have signed them. */
export interface PublishedReleases {
  /** @returns the release, what is to judge its wakes and who has signed it, or `target-unknown` */
  release(
    name: string,
    version: number,
  ): Result<
    { readonly release: Release; readonly verifier: ReleaseVerifier | undefined; readonly role: string },
    ContractError
  >
}

/** Models and their releases: what the image repository says, checked against the bundle itself, and how far each has come. */
export class Registry {
  readonly #store: Store
  readonly #artifacts: ArtifactFolder
  readonly #releases: PublishedReleases
  readonly #clock: Clock

  constructor(store: Store, artifacts: ArtifactFolder, releases: PublishedReleases, clock: Clock) {
    this.#store = store
    this.#artifacts = artifacts
    this.#releases = releases
    this.#clock = clock
  }

  async putArtifact(sha256: string, data: Uint8Array): Promise<Result<{ created: boolean }, ContractError>> {
    const put = await this.#artifacts.put(sha256, data)
    if (put.ok) this.#store.models.putArtifact(sha256, data.length, this.#clock.wallMs())
    return put
  }

  /** The patches that the release's signed document names, and whether their bytes are here.
   *  @returns `target-unknown` */
  patches(name: string, version: number): Result<readonly PatchRecord[], ContractError> {
    const published = this.#releases.release(name, version)
    if (!published.ok) return published
    const { patches = [] } = published.value.release
    return ok(patches.map((patch) => ({ ...patch, stored: this.#artifacts.size(patch.sha256) === patch.bytes })))
  }

  /** Stores the bytes of a patch that the release's signed document names; which those are is never the cloud's to say.
   *  @returns `target-unknown`, `contradicts-release` (not named), `size-mismatch`, `hash-mismatch`, `wrong-base`, or the codes of
   *    readPatchHeader
   */
  async putPatch(
    name: string,
    version: number,
    sha256: string,
    data: Uint8Array,
  ): Promise<Result<{ created: boolean }, ContractError>> {
    const published = this.#releases.release(name, version)
    if (!published.ok) return published
    const { release } = published.value
    const patch = release.patches?.find((candidate) => candidate.sha256 === sha256)
    if (patch === undefined) {
      return err(contractError('contradicts-release', `${name} ${version} names no patch ${sha256}`))
    }
    if (data.length !== patch.bytes) {
      return err(contractError('size-mismatch', `${data.length} bytes, the release says ${patch.bytes}`))
    }
    const leads = this.#leads(data, patch, release)
    return leads.ok ? this.putArtifact(sha256, data) : leads
  }

  /** Whether a patch says of itself what the release says of it: what was mixed up at the signing is found before a device finds it. */
  #leads(data: Uint8Array, { base }: ReleasePatch, release: Release): Result<void, ContractError> {
    const read = readPatchHeader(data)
    if (!read.ok) return read
    const { header } = read.value
    if (!isPatchImage(header.result, release.bytes, hexToBytes(release.sha256))) {
      return err(contractError('contradicts-release', `the patch makes another image than ${release.name}`))
    }
    // One that reads nothing may be listed for any base.
    if (header.base === null) return ok(undefined)
    const fits = base !== null && bytesEqual(header.base.sha256Half, sha256Half(hexToBytes(base)))
    return fits
      ? ok(undefined)
      : err(contractError('wrong-base', 'the patch is for another base than its release says'))
  }

  /** Registers a release of the image repository as candidate, when everything that its document names is here. The same again is no
   *  error.
   *  @param asked family that it is to belong to; undefined: see `#familyOf`
   *  @param risk that it has at least
   *  @returns the codes of decodeBundle and parseManifest, `target-unknown`, `artifact-not-found`, `size-mismatch`,
   *    `contradicts-release`, `conflict`, `invalid-request`
   */
  register(
    name: string,
    version: number,
    by: string,
    asked?: string,
    risk: ReleaseRisk = 'low',
  ): Result<{ release: ReleaseRecord; created: boolean }, ContractError> {
    const published = this.#releases.release(name, version)
    if (!published.ok) return published
    const { release, verifier, role } = published.value
    const known = this.#store.models.bySha256(release.sha256)
    if (known !== undefined && known.name === release.name && known.version === release.version) {
      if (asked !== undefined && asked !== known.family) {
        return err(contractError('conflict', `${name} ${version} is registered in family ${known.family}`))
      }
      return ok({ release: this.#raise(known, risk, by), created: false })
    }
    const taken = this.#store.models.byName(release.name, release.version)
    if (known !== undefined || taken !== undefined) {
      return err(contractError('conflict', `${release.name} ${release.version} or its bundle is registered already`))
    }
    const inspected = this.#inspect(release)
    if (!inspected.ok) return inspected
    const { parent, pipelines } = inspected.value
    const signals = pipelines.some((pipeline) => pipeline.signals.length > 0)
      ? pipelines.map(({ id, signals: own }) => ({ id, signals: own }))
      : []
    const missing = release.patches?.find(({ sha256, bytes }) => this.#artifacts.size(sha256) !== bytes)
    if (missing !== undefined) {
      return err(contractError('artifact-not-found', `upload the patch ${missing.sha256} first`))
    }
    const judges = verifier === undefined ? ok(undefined) : this.#inspectVerifier(verifier, release)
    if (!judges.ok) return judges
    const chosen = this.#familyOf(release, role, parent, asked)
    if (!chosen.ok) return chosen
    const family = chosen.value
    const now = this.#clock.wallMs()
    return this.#store.atomically(() => {
      // Reports name a model by 8 bytes of its hash; two releases with one name in the reports could not be told apart.
      if (this.#store.models.list().some(({ prefix }) => prefix === release.sha256.slice(0, 16))) {
        return err(contractError('conflict', 'another release has the same first 8 bytes of its hash'))
      }
      const { models, devices } = this.#store
      // What came before there was a family to follow follows the first.
      const followers = models.families().length === 0 ? devices.followFirst(family) : 0
      const record = models.add(release, parent, now, { verifier, signals, family })
      models.record(record.id, null, 'candidate', by, 'registered', now)
      this.#audit(by, 'release.registered', record, {
        ...{ version: record.version, sha256: record.sha256, family },
        ...(followers > 0 && { followers }),
      })
      return ok({ release: this.#raise(record, risk, by), created: true })
    })
  }

  /** The family of a release: of its name; as the newest release that its delegated role has signed; what is asked for; that of the release it
   *  was trained from; of the role's name; else `unsaidFamily`. A name, and a delegated role, are of one family.
   *  @returns `conflict` where another is asked for, `invalid-request` */
  #familyOf(
    { name }: Release,
    role: string,
    parent: string | null,
    asked: string | undefined,
  ): Result<string, ContractError> {
    const { models } = this.#store
    const isDelegated = role !== 'targets'
    const newest = [...models.list()].reverse()
    const roleOf = (each: ReleaseRecord): string | undefined => {
      const found = this.#releases.release(each.name, each.version)
      return found.ok ? found.value.role : undefined
    }
    const namesake = newest.find((each) => each.name === name)
    const sibling = isDelegated ? newest.find((each) => roleOf(each) === role) : undefined
    const bound = (namesake ?? sibling)?.family
    if (asked !== undefined && bound !== undefined && asked !== bound) {
      const why = namesake === undefined ? `what ${role} signs` : `the name ${name}`
      return err(contractError('conflict', `${why} is of family ${bound}, not ${asked}`))
    }
    const trained = parent === null ? undefined : models.bySha256(parent)?.family
    const family = asked ?? bound ?? trained ?? (isDelegated ? role : undefined)
    return family === undefined ? unsaidFamily(models.families()) : ok(family)
  }

  /** Checks the bundle of a verifier. What it could judge nothing of would leave a rollout without evidence. */
  #inspectVerifier({ sha256, bytes }: ReleaseVerifier, release: Release): Result<void, ContractError> {
    const data = this.#artifacts.read(sha256)
    if (data === undefined) return err(contractError('artifact-not-found', `upload the verifier ${sha256} first`))
    if (data.length !== bytes) {
      return err(contractError('size-mismatch', `the verifier has ${data.length} bytes, the release says ${bytes}`))
    }
    return verifierFits(data, present(this.#artifacts.read(release.sha256), 'the bundle of a release'))
  }

  /** Checks the bundle behind a release. @returns what it says of itself */
  #inspect(release: Release): Result<BundleManifest, ContractError> {
    const data = this.#artifacts.read(release.sha256)
    if (data === undefined) return err(contractError('artifact-not-found', `upload ${release.sha256} first`))
    if (data.length !== release.bytes) {
      return err(
        contractError('size-mismatch', `the bundle has ${data.length} bytes, the release says ${release.bytes}`),
      )
    }
    const manifest = readManifest(data)
    if (!manifest.ok) return manifest
    const { name, version, securityCounter } = manifest.value
    if (name !== release.name || version !== release.version || securityCounter !== release.securityCounter) {
      return err(
        contractError('contradicts-release', `the bundle says it is ${name} ${version}, counter ${securityCounter}`),
      )
    }
    if (requirementSha256(manifest.value) !== release.featuresSha256) {
      return err(contractError('contradicts-release', 'the bundle has another feature definition than the release'))
    }
    return manifest
  }

  /** What the bundle of a registered release says of itself. @returns `artifact-not-found`, the codes of decodeBundle and parseManifest */
  manifest({ sha256 }: Pick<ReleaseRecord, 'sha256'>): Result<BundleManifest, ContractError> {
    const data = this.#artifacts.read(sha256)
    if (data === undefined) return err(contractError('artifact-not-found', `the bundle ${sha256} is not here any more`))
    return readManifest(data)
  }

  /** Gives a release a higher risk; a lower one than it has changes nothing: what was said to need more care does not need less later. */
  #raise(release: ReleaseRecord, risk: ReleaseRisk, by: string): ReleaseRecord {
    if (higherRisk(release.risk, risk) === release.risk) return release
    return this.#store.atomically(() => {
      this.#store.models.setRisk(release.id, risk)
      this.#audit(by, 'release.risk-raised', release, { version: release.version, from: release.risk, to: risk })
      return { ...release, risk }
    })
  }

  /** What stands in a release's way to devices. */
  gates(release: ReleaseRecord): ReleaseGates {
    const { approvals } = this.#store
    const given = approvals.of(release.sha256)
    const risk = higherRisk(release.risk, approvals.riskOf(release.family)?.risk ?? 'low')
    const facts = {
      release: release.content,
      bundle: risk === 'low' ? undefined : this.#read(release),
      approvals: given.length,
    }
    return { risk, needed: APPROVALS[risk], approvals: given, lacks: lacksOf(risk, facts) }
  }

  /** Whether nothing stands in a release's way. @returns `conflict`, with all that it lacks and where it says how to get it */
  cleared(release: ReleaseRecord): Result<void, ContractError> {
    const { risk, lacks } = this.gates(release)
    if (lacks.length === 0) return ok(undefined)
    const { name, version } = release
    const gates = [...new Set(lacks.map(({ gate }) => gate))].join(', ')
    const list = lacks.map(({ lacks }) => lacks).join('; ')
    const how = `"kinglet release show ${name}@${version}" says how to get each`
    // The short words first: who reads only the beginning knows where to read on.
    return err(contractError('conflict', `${name} ${version} is of ${risk} risk and lacks ${gates}; ${how}: ${list}`))
  }

  #read({ sha256 }: ReleaseRecord): ReleaseFacts['bundle'] {
    const data = this.#artifacts.read(sha256)
    if (data === undefined) return undefined
    const sections = decodeBundle(data)
    const manifest = sections.ok ? parseManifest(sections.value) : sections
    return sections.ok && manifest.ok
      ? { manifest: manifest.value, card: sections.value.get(SECTIONS.card) }
      : undefined
  }

  /** Notes that somebody has looked at a release and lets it go to devices. It counts for these bytes, until they are archived.
   *  @param sha256 of what was looked at; undefined: whatever the cloud has
   *  @returns `not-found` | `conflict`: archived, another bundle, or not another person */
  approve(
    name: string,
    by: string,
    reason: string,
    { version, sha256 }: { readonly version?: number | undefined; readonly sha256?: string | undefined } = {},
  ): Result<ReleaseRecord, ContractError> {
    const { models, approvals } = this.#store
    return this.#store.atomically(() => {
      const release = models.byName(name, version)
      if (release === undefined) return err(contractError('not-found', `no release "${name}"`))
      const { state } = release
      if (state === 'archived') return err(contractError('conflict', `${name} ${release.version} is archived`))
      if (sha256 !== undefined && sha256 !== release.sha256) {
        return err(
          contractError('conflict', `${name} ${release.version} has the hash ${release.sha256}, not ${sha256}`),
        )
      }
      const given = approvals.of(release.sha256)
      if (given.some((each) => each.by === by)) return ok(release)
      const registered = models.history(release.id)[0]?.by
      const same = [registered, ...given.map((each) => each.by)].find(
        (other) => other !== undefined && this.#mayBeOne(by, other),
      )
      if (same !== undefined) {
        const what = same === registered ? 'registered' : 'approved'
        const why =
          same === by
            ? `${by} has ${what} it`
            : `${same} has ${what} it, and one of the two has minted the other's token`
        return err(contractError('conflict', `${why}: an approval is another person's`))
      }
      const atMs = this.#clock.wallMs()
      approvals.add({ sha256: release.sha256, by, atMs, reason })
      this.#audit(by, 'release.approved', release, { version: release.version, sha256: release.sha256, reason })
      return ok(release)
    })
  }

  /** Whether two names may be one person: who has minted a token for a name has had it in his hands. */
  #mayBeOne(a: string, b: string): boolean {
    const { tokens } = this.#store
    return a === b || tokens.mintersOf(a).has(b) || tokens.mintersOf(b).has(a)
  }

  /** Sets the least risk of a family's releases.
   *  @param mayLower whether whoever asks may also lower it @returns `not-found` | `not-authorized` */
  setFamilyRisk(
    family: string,
    risk: ReleaseRisk,
    { by, reason, mayLower }: { readonly by: string; readonly reason: string; readonly mayLower: boolean },
  ): Result<FamilyRisk, ContractError> {
    const { models, approvals, audit } = this.#store
    return this.#store.atomically(() => {
      const families = models.families()
      if (!families.includes(family)) return err(contractError('not-found', noFamily(family, families)))
      const from = approvals.riskOf(family)?.risk ?? 'low'
      if (higherRisk(from, risk) !== risk && !mayLower) {
        return err(contractError('not-authorized', `family ${family} is of ${from} risk: lowering that needs admin`))
      }
      const changedMs = this.#clock.wallMs()
      const set = { family, risk, changedMs, by, reason }
      approvals.setRisk(set)
      audit.append({
        atMs: changedMs,
        actor: by,
        action: 'family.risk-set',
        subject: family,
        detail: { from, to: risk, reason },
      })
      return ok(set)
    })
  }

  /** Moves a release by hand. Into production only what nothing stands in the way of.
   *  @param risk that it has at least from now on
   *  @returns `not-found` | `conflict`
   */
  promote(
    name: string,
    to: ReleaseState,
    by: string,
    reason: string,
    version?: number,
    risk: ReleaseRisk = 'low',
  ): Result<ReleaseRecord, ContractError> {
    const { models, rollouts, devices, cohorts } = this.#store
    return this.#store.atomically(() => {
      const found = models.byName(name, version)
      if (found === undefined) return err(contractError('not-found', `no release "${name}"`))
      const release = this.#raise(found, risk, by)
      if (release.state === to) return ok(release)
      if (!BY_HAND[release.state].includes(to)) {
        return err(contractError('conflict', `${name} is ${release.state}; by hand it cannot become ${to}`))
      }
      if (rollouts.allOpen().some((open) => open.release === release.id)) {
        return err(contractError('conflict', `a rollout of ${name} is open: roll it back or let it finish`))
      }
      const inProduction =
        to === 'production'
          ? models.productions(release.family).find((other) => shareBoards(other, release))
          : undefined
      if (inProduction !== undefined && !this.#isRunByAll(release)) {
        return err(contractError('conflict', `${inProduction.name} is in production: start a rollout of ${name}`))
      }
      const isCleared = to === 'production' ? this.cleared(release) : ok(undefined)
      if (!isCleared.ok) return isCleared
      models.setState(release, to, by, reason, this.#clock.wallMs())
      this.#audit(by, `release.${to}`, release, { from: release.state, reason })
      if (to === 'production') {
        const now = this.#clock.wallMs()
        const why = `${name} promoted: ${reason}`
        for (const former of models.superseded(release.family)) models.setState(former, 'archived', by, why, now)
        cohorts.endOf(release.id, 'production')
        const { boards } = release.content
        for (const device of devices.enrolled()) {
          if (device.family !== release.family || device.target !== null) continue
          if (boards.length > 0 && !boards.includes(device.board)) continue
          devices.retarget(device.id, { release: release.id, rollout: null, stage: 0, arm: 'none' })
        }
      }
      return ok(present(models.byId(release.id), 'the release just changed'))
    })
  }

  /** Whether rollouts of chosen devices have brought a release to all devices that it is for, so that to be production changes nothing for them. */
  #isRunByAll({ id, family, content: { boards } }: ReleaseRecord): boolean {
    const { devices, cohorts } = this.#store
    if (cohorts.keepers(id) === 0) return false
    return devices
      .enrolled()
      .filter((device) => device.family === family && !device.pinned && device.target !== null)
      .every((device) => device.target === id || (boards.length > 0 && !boards.includes(device.board)))
  }

  #audit(actor: string, action: string, release: ReleaseRecord, detail: unknown): void {
    this.#store.audit.append({ atMs: this.#clock.wallMs(), actor, action, subject: release.name, detail })
  }
}
