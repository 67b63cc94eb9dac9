import { canonicalize } from '@tufjs/canonical-json'
import { TUF_LIMITS } from '../../contract/limits.ts'
import { targetPathOf } from '../../contract/metadata-file.ts'
import { releaseOfTarget } from '../../contract/repository-target.ts'
import { parseMetadata } from '../../contract/tuf/metadata.ts'
import type { FetchStep } from '../../contract/tuf/metadata-fetch.ts'
import { beginUpdate } from '../../contract/tuf/update-cycle.ts'
import { layoutOf } from '../../device/core/flash/flash-layout.ts'
import { factoryTrust, readTrust, writeTrust } from '../../device/core/flash/trust-record.ts'
import { FlashNor } from '../../firmware-sim/flash-nor.ts'
import { MemoryRepository } from '../../firmware-sim/memory-repository.ts'
import { rememberedSchemes } from '../../firmware-sim/power-cut/remembered-signatures.ts'
import { ISSUED_MS, releaseSample } from '../fixtures/documents.ts'
import { directorKey } from '../fixtures/keys.ts'
import type { FuzzTarget } from './fuzz-run.ts'
import { codeOf, MIB, must } from './fuzz-soundness.ts'

const signedPart = (file: Uint8Array): string =>
  canonicalize((JSON.parse(new TextDecoder().decode(file)) as { signed: unknown }).signed)

/** A whole cycle and search of the device's client, in which one file of the repository is what the fuzzer made of it. */
function metadata(file: string): FuzzTarget {
  const repository = new MemoryRepository(directorKey.role, ISSUED_MS)
  repository.publish([releaseSample], ISSUED_MS)
  const original = repository.file(file)!
  const whole = signedPart(original)
  const schemes = rememberedSchemes()
  return {
    name: `metadata-${file.replace(/^\d+\./, '').replace(/\.json$/, '')}`,
    corpus: [original],
    tree: 'json',
    weight: 2,
    allocationBytes: 8 * MIB,
    run(input) {
      const begun = beginUpdate(
        { root: file.includes('root') ? input : repository.root },
        { nowMs: ISSUED_MS, schemes },
      )
      if (!begun.ok) return begun.error.code
      const cycle = begun.value
      const fetch = ({ file: asked }: FetchStep) => (asked === file ? input : (repository.file(asked) ?? 'not-found'))
      let step = cycle.next()
      for (; step.kind === 'fetch'; step = cycle.next()) cycle.received(fetch(step))
      if (step.kind === 'failed') return step.error.code
      const search = cycle.findTarget(targetPathOf(releaseSample))
      let found = search.next()
      for (; found.kind === 'fetch'; found = search.next()) search.received(fetch(found))
      if (found.kind === 'failed') return found.error.code
      const release = releaseOfTarget(found.target)
      // White space and superfluous signatures are not signed; the rest is.
      if (release.ok) must(signedPart(input) === whole, 'metadata that nobody signed')
      return codeOf(release)
    },
  }
}

/** Targets before anybody has looked at their hash: what a parser meets that a stolen online key feeds. */
function targetsParser(): FuzzTarget {
  const repository = new MemoryRepository(directorKey.role, ISSUED_MS)
  repository.publish([releaseSample], ISSUED_MS)
  return {
    name: 'targets-parser',
    corpus: [repository.file('2.targets.json')!],
    tree: 'json',
    weight: 4,
    allocationBytes: 4 * MIB,
    run: (input) => codeOf(parseMetadata(input, 'targets', TUF_LIMITS)),
  }
}

/** Both copies of the trust record as a chip may return them. */
function trustRecord(): FuzzTarget {
  const flash = new FlashNor({ sizeBytes: MIB })
  const layout = layoutOf(flash)
  if (!layout.ok) throw new Error(layout.error.detail)
  const { areas, areaBytes } = layout.value.trust
  const repository = new MemoryRepository(directorKey.role, ISSUED_MS)
  const written = writeTrust(flash, layout.value, factoryTrust(repository.root))
  if (!written.ok) throw new Error(written.error.detail)
  const whole = JSON.stringify(readTrust(flash, layout.value))
  const [start, end] = [areas[0], areas[1] + areaBytes]
  const { sizeBytes, sectorBytes, programBytes } = flash
  const port = {
    sizeBytes,
    sectorBytes,
    programBytes,
    erase: flash.erase.bind(flash),
    program: flash.program.bind(flash),
  }
  return {
    name: 'trust-record',
    // What the record takes and a little of the erased rest: a change there would say nothing.
    corpus: [flash.read(start, 4_096).slice()],
    weight: 2,
    allocationBytes: 2 * MIB,
    ignoresTail: true,
    run(input) {
      const chip = new Uint8Array(end - start).fill(0xff)
      chip.set(input.subarray(0, chip.length))
      const read = (offset: number, length: number) => chip.subarray(offset - start, offset - start + length)
      const found = readTrust({ ...port, read }, layout.value)
      if (found === undefined) return 'no-record'
      must(JSON.stringify(found) === whole, 'a changed record passes its checksum')
      return 'accepted'
    },
  }
}

/** What trust is built on: metadata of every role, and what a device keeps of it. */
export const trustTargets = (): readonly FuzzTarget[] => [
  metadata('1.root.json'),
  metadata('timestamp.json'),
  metadata('2.snapshot.json'),
  metadata('2.targets.json'),
  targetsParser(),
  trustRecord(),
]
