import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundleEngine } from '../../cli/engines.ts'
import { seededRandom } from '../../contract/random.ts'
import { layoutOf } from '../../device/core/flash/flash-layout.ts'
import type { Flash } from '../../device/ports/flash.ts'
import type { FlashNor } from '../../firmware-sim/flash-nor.ts'
import { RememberedEngine } from '../../firmware-sim/power-cut/engine-remembered.ts'
import { CUT_CHIPS, type CutChip } from '../../firmware-sim/power-cut/power-cut-chips.ts'
import {
  bootAndTell,
  factoryFlashes,
  fastForwardRecovery,
  newRoot,
  newTimestamp,
  outage,
  pollOf,
  recordLost,
  rotted,
  settled,
} from '../../firmware-sim/power-cut/power-cut-courses.ts'
import { sweepIdentity } from '../../firmware-sim/power-cut/power-cut-identity.ts'
import {
  cutRepository,
  imageOf,
  type TrialImage,
  trialImage,
  withPatch,
} from '../../firmware-sim/power-cut/power-cut-images.ts'
import { type CutStart, type CutStory, factoryStart } from '../../firmware-sim/power-cut/power-cut-story.ts'
import {
  cutInARow,
  cutRadio,
  edgesOf,
  failRecords,
  newTally,
  recordFaultsOf,
  type SweepOptions,
  sweep,
  sweepTwice,
  type Tally,
  undecidedOf,
} from '../../firmware-sim/power-cut/power-cut-sweep.ts'
import { EngineOrtNode } from '../../model/engine/engine-ort-node.ts'
import { fourFiles, fourSpec, packSpec, sileroFiles, sileroSpec } from '../fixtures/pipeline-bundles.ts'

/** `KINGLET_SEED=… npx vitest run test/simulation/powercut.test.ts` repeats a run. */
const seed = Number(process.env.KINGLET_SEED ?? 20_261_121)
const NONE = { brick: 0, 'unverified boot': 0, 'counter decrease': 0, 'lost message': 0, 'broken promise': 0 }

const zoo = (name: string): TrialImage => trialImage(new URL(`../../zoo/bundles/${name}.kinglet`, import.meta.url))
const [first, second, third] = [zoo('kws-1'), zoo('kws-2'), zoo('kws-regressed')]
const engine = new RememberedEngine(new EngineOrtNode())
const install: CutStory = { name: 'install', target: second, seq: 1, healthy: true, other: third }
const revert: CutStory = { name: 'revert', target: third, seq: 2, healthy: false, other: first }
const optionsOf = (name: string, change: Partial<SweepOptions> = {}): SweepOptions => ({
  engine,
  images: [first, second, third],
  repository: cutRepository([first, second, third]),
  tally: newTally(),
  random: seededRandom(seed).fork(name),
  sampleOneIn: 2_000,
  ...change,
})
const patched = withPatch(second, first)
const patchInstall: CutStory = { ...install, name: 'patch install', target: patched, byPatch: true }
const patchedOptions = (name: string, change: Partial<SweepOptions> = {}): SweepOptions =>
  optionsOf(name, {
    images: [first, patched, third],
    repository: cutRepository([first, patched, third]),
    ...change,
  })
let factory: CutStart
let installed: CutStart
const installedOn = (chip: CutChip): Promise<CutStart> => {
  const options = optionsOf('installed', { chip })
  return settled(options, factoryStart({ ...options, breach: () => undefined }, first), install)
}
beforeAll(async () => {
  console.log(`power cuts: seed ${seed}`)
  factory = factoryStart({ ...optionsOf('factory'), breach: () => undefined }, first)
  installed = await installedOn(CUT_CHIPS[0])
})
afterAll(() => engine.close())

describe('the power goes', () => {
  it.each([
    [install, () => factory],
    [revert, () => installed],
  ] as const)(
    '$name: at a share of all points of every operation, and the device is none the worse',
    async (story, start) => {
      const options = optionsOf(story.name, { share: 0.012 })
      const { operations } = await sweep(options, start(), story)
      expect(operations).toBeGreaterThan(2 * Math.ceil(second.bundle.length / 4_096))
      expect(options.tally.cuts).toBeGreaterThan(200)
      expect(options.tally.lived).toBeGreaterThan(3)
      expect(options.tally).toMatchObject({ breaches: NONE, stories: [] })
    },
  )

  it('in a patch install: at a share of all points, and no more than the block that was being written comes again', async () => {
    const options = patchedOptions('patch install', { share: 0.01 })
    await sweep(options, factory, patchInstall)
    expect(options.tally.cuts).toBeGreaterThan(200)
    expect(options.tally.lived).toBeGreaterThan(3)
    expect(options.tally).toMatchObject({ breaches: NONE, stories: [] })
  })

  it.each([
    ['vad', 'of one that remembers, whose golden vectors are a row', () => packSpec(sileroSpec(), sileroFiles())],
    // Stated as small as the board is: what they take is not tried here.
    [
      'four',
      'of four on one input',
      () => packSpec(fourSpec.replaceAll(/ramBytes: \d+/g, 'ramBytes: 2000'), fourFiles()),
    ],
  ])('in an install of pipelines (%s), %s: at a share of all points', async (name, _what, pack) => {
    const { bundle } = await pack()
    const pipelines = imageOf(bundle, name)
    const images = [first, pipelines, third]
    const options = optionsOf('pipelines', {
      images,
      repository: cutRepository(images),
      share: name === 'vad' ? 0.02 : 0.005,
    })
    const { operations } = await sweep(options, factory, { ...install, name: 'pipelines', target: pipelines })
    expect(operations).toBeGreaterThan(2 * Math.ceil(bundle.length / 4_096))
    expect(options.tally.cuts).toBeGreaterThan(10)
    expect(options.tally.lived).toBeGreaterThan(0)
    expect(options.tally).toMatchObject({ breaches: NONE, stories: [] })
  })

  it('in a patch install of an anomaly detector of vectors over the one before: at a share of all points', async () => {
    const bearings = new RememberedEngine(bundleEngine())
    const [one, two, other] = [zoo('bearing-1'), zoo('bearing-2'), zoo('bearing-regressed')]
    const target = withPatch(two, one)
    const images = [one, target, other]
    const options = optionsOf('anomaly', {
      ...{ engine: bearings, images, repository: cutRepository(images), share: 0.02 },
    })
    const start = factoryStart({ ...options, breach: () => undefined }, one)
    const { operations } = await sweep(options, start, { ...install, name: 'anomaly', target, other, byPatch: true })
    expect(operations).toBeGreaterThan(2 * Math.ceil(two.bundle.length / 4_096))
    expect(options.tally.cuts).toBeGreaterThan(50)
    expect(options.tally.lived).toBeGreaterThan(0)
    expect(options.tally).toMatchObject({ breaches: NONE, stories: [] })
    await bearings.close()
  })

  it('of the radio at every block of a patch install', async () => {
    const options = patchedOptions('radio')
    expect(await cutRadio(options, factory, patchInstall)).toBe(2 * Math.ceil(patched.patches[0]!.length / 4_096))
    expect(options.tally).toMatchObject({ breaches: NONE, stories: [] })
  })

  it('five times in a row', async () => {
    const options = optionsOf('row')
    const orders = [install, { ...install, target: third, other: first }, { ...install, target: first, other: third }]
    for (let i = 0; i < 2; i++) await cutInARow(options, factory, orders, 5, 60, `run ${i}`)
    expect(options.tally).toMatchObject({ breaches: NONE, stories: [] })
  })

  it('while writes of the boot record fail: the update waits or is given up with a code, the confirmed image runs on', async () => {
    const all = optionsOf('all fail')
    const told = await failRecords(all, factory, install, 1, undefined, 'rate 1')
    expect(told.some((said) => /^install-(delayed|failed): flash-write-failed$/.test(said))).toBe(true)
    expect(all.tally).toMatchObject({ breaches: NONE, stories: [] })
    const half = optionsOf('half fail')
    for (let i = 0; i < 2; i++) await failRecords(half, factory, install, 0.5, 5 + 7 * i, `rate 0.5, ${i}`)
    expect(half.tally).toMatchObject({ breaches: NONE, stories: [] })
  })
})

/** What a device does of itself, short enough for two cuts in a row. Points within an operation are drawn; others with each day's seed. */
describe('the power goes, and goes again while the device recovers', () => {
  const images = [first, second, third]
  const clean = (tally: Tally, cuts: number) => {
    expect(tally.cuts).toBeGreaterThan(cuts)
    expect(tally).toMatchObject({ breaches: NONE, stories: [] })
  }
  const damaged = (chip: CutChip) => ({ ...optionsOf('damaged', { chip }) })

  it.each(CUT_CHIPS)('in a fall-back, on $name', async (chip) => {
    const start = await installedOn(chip)
    const options = optionsOf('fall-back', { chip, share: 0.2 })
    const rotten = rotted(damaged(chip), start, 'active', seededRandom(seed))
    const { operations, twice } = await sweepTwice(options, rotten, bootAndTell('fall-back'))
    expect(operations).toBeGreaterThan(3)
    expect(twice).toBeGreaterThan(0)
    clean(options.tally, 150)
  })

  it('in the boot of a device whose record is lost', async () => {
    const [chip] = CUT_CHIPS
    const options = optionsOf('found', { chip, share: 0.2 })
    const start = recordLost(damaged(chip), await installedOn(chip), first)
    await sweepTwice(options, start, bootAndTell('image-found'))
    clean(options.tally, 150)
  })

  it.each([
    ['new timestamp', newTimestamp(images)],
    ['new root', newRoot(images)],
    ['fast-forward recovery', fastForwardRecovery(images)],
  ])('when a device learns of a %s', async (name, { before, after }) => {
    const start = await settled({ ...optionsOf('trusting'), repository: before }, factory, pollOf('trusting', before))
    const options = optionsOf(name, { repository: after, share: 0.05 })
    await sweepTwice(options, start, pollOf(name, after))
    clean(options.tally, 150)
  })

  it('when a device learns for the first time what is trusted', async () => {
    const options = optionsOf('first trust', { share: 0.05 })
    await sweepTwice(options, factory, pollOf('first trust', options.repository))
    clean(options.tally, 150)
  })

  it('while nobody acknowledges, and afterwards: every message is acknowledged or still in flash', async () => {
    const options = optionsOf('spool', { share: 0.03 })
    await sweep(options, factory, outage)
    clean(options.tally, 100)
  })

  it.each([
    ['enrolled', 'enrol'],
    ['given another key', 'rotate'],
  ] as const)('while a device is %s: it has a key that the cloud accepts', async (_, story) => {
    const [chip] = CUT_CHIPS
    const tally = newTally()
    const random = seededRandom(seed).fork(story)
    expect(await sweepIdentity(story, { chip, tally, random, cuts: 2, share: 0.02 })).toBe(4)
    clean(tally, 50)
  })

  it('in the factory, with blank flash and with one that was used', async () => {
    const blank: CutStart = { image: new Map(), past: { ...factory.past, confirmed: '' } }
    const options = optionsOf('blank', { share: 0.0002 })
    await sweep(options, blank, factoryFlashes('blank flash', first, true, 0))
    const { securityCounter } = installed.past
    await sweep({ ...options, share: 0.002 }, installed, factoryFlashes('used flash', first, false, securityCounter))
    clean(options.tally, 50)
  })

  it('in the factory, while it writes its records, on a chip of many short writes', async () => {
    const chip = CUT_CHIPS[1]
    const made = factoryStart({ ...optionsOf('made'), chip, breach: () => undefined }, first)
    const options = optionsOf('records', { chip, share: 0.3 })
    const blank: CutStart = { image: new Map(), past: { ...made.past, confirmed: '' } }
    await sweep(options, blank, factoryFlashes('blank flash', first, true, 0), recordFaultsOf)
    clean(options.tally, 50)
  })

  it('and leaves bits that read differently each time', async () => {
    const options = optionsOf('undecided', { undecided: seededRandom(seed).fork('bits') })
    const rotten = rotted(optionsOf('damaged'), installed, 'active', seededRandom(seed))
    await sweepTwice(options, rotten, bootAndTell('fall-back'), undecidedOf)
    await sweepTwice({ ...options, share: 0.2 }, factory, pollOf('first trust', options.repository), undecidedOf)
    await sweep({ ...options, share: 0.5 }, factory, outage, undecidedOf)
    await sweep({ ...options, share: 0.05 }, factory, install, undecidedOf)
    clean(options.tally, 60)
  })

  it('while the first writes after a fall-back fail: the slot that runs is left alone', async () => {
    const rotten = rotted(optionsOf('damaged'), installed, 'active', seededRandom(seed))
    const options = optionsOf('first fail')
    const story = { ...install, target: third, other: second, seq: 2 }
    for (const count of [2, 3]) await failRecords(options, rotten, story, { first: count }, undefined, `${count} fail`)
    clean(options.tally, 1)
  })
})

describe('the sweep can fail', () => {
  it('on firmware that begins a download anew after every reset', async () => {
    /** Its record of how far a download has come reads as erased. */
    const forgetful = (flash: FlashNor): Flash => {
      const layout = layoutOf(flash)
      if (!layout.ok) throw new Error(layout.error.detail)
      const { areas, areaBytes } = layout.value.progress
      let written = false
      return {
        sizeBytes: flash.sizeBytes,
        sectorBytes: flash.sectorBytes,
        programBytes: flash.programBytes,
        read: (offset, length) => {
          const isProgress = areas.some((area) => offset >= area && offset < area + areaBytes)
          return isProgress && !written ? new Uint8Array(length).fill(0xff) : flash.read(offset, length)
        },
        erase: (offset) => flash.erase(offset),
        program: (offset, data) => {
          if (areas.includes(offset)) written = true
          return flash.program(offset, data)
        },
      }
    }
    const options = patchedOptions('begins anew', { flashOf: forgetful, share: 0.2 })
    await sweep(options, factory, patchInstall, edgesOf)
    expect(options.tally.breaches['broken promise']).toBeGreaterThan(0)
    expect(options.tally.stories.join()).toMatch(/bytes of blocks, \d+ without a cut/)
  })

  /** A boot record written the wrong way: both copies are erased before one is written, so that a cut in between leaves none. */
  const erasesBothCopies = (flash: FlashNor): Flash => {
    const layout = layoutOf(flash)
    if (!layout.ok) throw new Error(layout.error.detail)
    const { areas } = layout.value.boot
    return {
      sizeBytes: flash.sizeBytes,
      sectorBytes: flash.sectorBytes,
      programBytes: flash.programBytes,
      read: (offset, length) => flash.read(offset, length),
      erase: (offset) => {
        const other = areas.find((area) => area !== offset)
        if (areas.includes(offset) && other !== undefined) flash.erase(other)
        return flash.erase(offset)
      },
      program: (offset, data) => flash.program(offset, data),
    }
  }

  it('on firmware that erases both copies of the boot record before it writes one', async () => {
    const options = optionsOf('both copies', { flashOf: erasesBothCopies, share: 0.5 })
    await sweep(options, factory, install, edgesOf)
    const { breaches, stories } = options.tally
    expect(breaches['broken promise'] + breaches.brick).toBeGreaterThan(0)
    expect(stories.join('\n')).toMatch(/^install, operation \d+ of \d+ \((erase|program) at \d+\)/m)
  })

  /** Says that it has erased and programmed the idle slot's head, and has not: what the boot finds there is not what was verified. */
  it('on a boot that does not look at what it boots', async () => {
    const forgetful = (flash: FlashNor): Flash => {
      const layout = layoutOf(flash)
      if (!layout.ok) throw new Error(layout.error.detail)
      const at = layout.value.slots[1] + 4_096
      let programmed = new Uint8Array(0)
      return {
        sizeBytes: flash.sizeBytes,
        sectorBytes: flash.sectorBytes,
        programBytes: flash.programBytes,
        // A cache that answers for the medium, as long as the device is up and after it: reads are not from flash.
        read: (offset, length) => {
          const data = flash.read(offset, length)
          if (programmed.length > 0 && offset <= at && offset + length >= at + programmed.length) {
            data.set(programmed, at - offset)
          }
          return data
        },
        erase: (offset) => flash.erase(offset),
        program: (offset, data) => {
          if (offset !== at) return flash.program(offset, data)
          programmed = data.slice()
          return { ok: true, value: undefined }
        },
      }
    }
    const options = optionsOf('forgetful', { flashOf: forgetful, share: 0 })
    await sweep(options, factory, install)
    expect(options.tally.breaches['unverified boot']).toBeGreaterThan(0)
  })
})
