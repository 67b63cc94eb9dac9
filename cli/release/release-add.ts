import { basename } from 'node:path'
import type { ReleaseRisk } from '../../cloud/store/approval-store.ts'
import type { Clock } from '../../contract/clock.ts'
import { LIMITS } from '../../contract/limits.ts'
import { releaseOf } from '../../model/pack.ts'
import { verifierFits } from '../../model/wake-verifier.ts'
import { apiOf, type CloudFlags } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'
import { type OfflineFlags, offlineTools } from '../keys/offline-tools.ts'
import { openBundleFile, readBundleFile } from '../open-bundle-file.ts'
import { ProgressLine } from '../progress-line.ts'
import { type PatchFrom, publishRelease } from './release-publication.ts'

export interface AddFlags extends OfflineFlags, CloudFlags {
  readonly patchFrom: readonly string[]
  readonly patches: boolean
  readonly verifier?: string
  readonly family?: string
  readonly risk?: ReleaseRisk
}

/** Signs a bundle file and its patches, publishes and registers it. */
export async function addRelease(file: string, flags: AddFlags, clock: Clock): Promise<void> {
  const bytes = readBundleFile(file)
  const bundle = await openBundleFile(file, Number.POSITIVE_INFINITY)
  const content = releaseOf(bytes, bundle.manifest)
  await bundle.dispose()
  const verifier = flags.verifier === undefined ? undefined : await readVerifierBundle(flags.verifier, bytes)
  const { repository, lifecycle } = offlineTools(flags, clock)
  const api = apiOf(flags)
  const patchFrom = patchFromOf(flags)
  const progress = new ProgressLine('patches', clock)
  const added = await publishRelease(bytes, content, {
    api,
    repository,
    lifecycle,
    patchFrom,
    verifier,
    family: flags.family,
    risk: flags.risk,
    parent: bundle.manifest.parent,
    print: console.log,
    onProgress: (share) => (share < 1 ? progress.show(share) : progress.clear()),
  })
  if (added !== undefined) {
    console.log(`${added.name} ${added.version} is registered as ${added.state} in family ${added.family}`)
  }
}

/** Opened as a gateway will, so that what cannot judge is found before it is signed. */
async function readVerifierBundle(file: string, release: Uint8Array): Promise<Uint8Array> {
  const bytes = readBundleFile(file)
  const fits = verifierFits(bytes, release)
  if (!fits.ok) {
    throw new CommandFailure(`${file}: ${fits.error.detail}`, {
      hint: 'pack a verifier with the front end of the release, and labels of the same names',
    })
  }
  await (await openBundleFile(file, Number.POSITIVE_INFINITY)).dispose()
  return bytes
}

function patchFromOf({ patches, patchFrom }: AddFlags): PatchFrom {
  if (patches && patchFrom.length === 0) return 'cloud'
  if (!patches && patchFrom.length > 0) {
    throw new CommandFailure('--patch-from and --no-patches exclude each other', { exitCode: 2 })
  }
  const most = LIMITS.releasePatches - 1
  if (patchFrom.length > most) throw new CommandFailure(`at most ${most} of --patch-from`, { exitCode: 2 })
  return patches ? patchFrom.map((file) => ({ name: basename(file), bundle: readBundleFile(file) })) : 'none'
}
