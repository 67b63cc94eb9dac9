import { readFileSync } from 'node:fs'
import nacl from 'tweetnacl'
import { decodeBundle } from '../../contract/bundle.ts'
import { sha256Hex } from '../../contract/bytes.ts'
import { parseManifest } from '../../contract/manifest.ts'
import type { Assignment, Release } from '../../contract/release.ts'
import { encodeSigned, publicKeyOf, signDocument, type TrustedRole } from '../../contract/signed.ts'
import { releaseOf } from '../../model/pack.ts'
import { makePatch } from '../../release/patch/make-patch.ts'
import { MemoryRepository } from '../memory-repository.ts'

/** A bundle of the zoo and what the image repository says of it. */
export interface TrialImage {
  readonly name: string
  readonly bundle: Uint8Array
  readonly release: Release
  /** those that the release names */
  readonly patches: readonly Uint8Array[]
}

/** The same image with a patch of its release from another one. */
export function withPatch(image: TrialImage, base: TrialImage): TrialImage {
  const patch = makePatch(base.bundle, image.bundle)
  const named = { base: base.release.sha256, sha256: sha256Hex(patch), bytes: patch.length }
  return { ...image, patches: [patch], release: { ...image.release, patches: [named] } }
}

export const CUT_DEVICE = 'bird-1'
export const CUT_SITE = 'lab'
/** the board with the smallest flash */
export const CUT_BOARD = 'NUCLEO-U385RG'
export const CUT_START_MS = 1_700_000_000_000
const DECADE_MS = 10 * 365 * 24 * 3_600_000

/** Keys from fixed seeds: the same documents in every run. They sign for nobody but the device of the sweep. */
const keyOf = (byte: number) => {
  const { secretKey, publicKey } = nacl.sign.keyPair.fromSeed(new Uint8Array(32).fill(byte))
  const role: TrustedRole = { keys: [publicKeyOf(publicKey)], threshold: 1 }
  return { secretKey, role }
}
const director = keyOf(101)

/** The repository that has all of some images. */
export function cutRepository(images: readonly TrialImage[]): MemoryRepository {
  const repository = new MemoryRepository(director.role, CUT_START_MS)
  repository.publish(
    images.map(({ release }) => release),
    CUT_START_MS,
  )
  return repository
}

/** Reads a bundle. Throws when it is not whole: the sweep has nothing to say then.
 *  @param path a file */
export const trialImage = (path: string | URL): TrialImage => imageOf(new Uint8Array(readFileSync(path)), String(path))

/** As `trialImage`, of its bytes. @param name for the message when it is not whole */
export function imageOf(bundle: Uint8Array, name: string): TrialImage {
  const sections = decodeBundle(bundle)
  if (!sections.ok) throw new Error(`${name}: ${sections.error.detail}`)
  const manifest = parseManifest(sections.value)
  if (!manifest.ok) throw new Error(`${name}: ${manifest.error.detail}`)
  return { name: manifest.value.name, bundle, patches: [], release: releaseOf(bundle, manifest.value) }
}

/** The director's order to run an image. */
export function orderOf(image: TrialImage, seq: number): Uint8Array {
  const { name, version, sha256 } = image.release
  const assignment: Assignment = {
    v: 1,
    type: 'assignment',
    device: CUT_DEVICE,
    site: CUT_SITE,
    board: CUT_BOARD,
    seq,
    issuedMs: CUT_START_MS,
    expiresMs: CUT_START_MS + DECADE_MS,
    target: { name, version, sha256 },
    rollout: { id: 'cut', stage: 0, arm: 'canary' },
  }
  return encodeSigned(signDocument(assignment, director.secretKey))
}
