import { parseArgs } from 'node:util'
import { present } from '../../contract/present.ts'
import { seededRandom } from '../../contract/random.ts'
import { EngineOrtNode } from '../../model/engine/engine-ort-node.ts'
import { FlashNor } from '../flash-nor.ts'
import { RememberedEngine } from './engine-remembered.ts'
import { cutRepository, type TrialImage, trialImage, withPatch } from './power-cut-images.ts'
import { CutMemory } from './power-cut-memory.ts'
import { type CutStart, type CutStory, factoryStart, finish } from './power-cut-story.ts'
import {
  cutInARow,
  cutRadio,
  edgesAndOneOf,
  edgesOf,
  failRecords,
  newTally,
  type SweepOptions,
  sweep,
} from './power-cut-sweep.ts'
import { CutWorld } from './power-cut-world.ts'

const USAGE = `usage: npm run powercut -- [--seeds N] [--seed S]

Cuts the power of one device at every flash operation of installs, confirmations, reverts and rollbacks, and boots what is left.
  --seeds N   runs of five cuts in a row, drawn (default 60)
  --seed S    seed of all that is drawn (default 1)
`

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    help: { type: 'boolean', default: false },
  },
})
const seeds = Number(values.seeds)
const seed = Number(values.seed)
if (values.help || !Number.isSafeInteger(seeds) || seeds < 0 || !Number.isSafeInteger(seed)) {
  process.stderr.write(USAGE)
  process.exit(values.help ? 0 : 2)
}

const began = performance.now()
const say = (line: string) => process.stdout.write(`${line}\n`)
const progress = (line: string) =>
  process.stderr.write(`${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s  ${line}\n`)

// From dist as from the sources: the zoo is not compiled.
const zoo = (name: string): TrialImage =>
  trialImage(
    new URL(
      `${import.meta.url.includes('/dist/') ? '../../..' : '../..'}/zoo/bundles/${name}.kinglet`,
      import.meta.url,
    ),
  )
const [first, second, third] = [zoo('kws-1'), zoo('kws-2'), zoo('kws-regressed')]
const patched = withPatch(second, first)
const engine = new RememberedEngine(new EngineOrtNode())
const repository = cutRepository([first, second, third])
const patchedRepository = cutRepository([first, patched, third])
const tally = newTally()
const random = seededRandom(seed)
const optionsOf = (name: string): SweepOptions => ({
  engine,
  images: [first, second, third],
  repository,
  tally,
  random: random.fork(name),
  sampleOneIn: 20_000,
})

/** A device after a story that nothing disturbed. */
async function after(start: CutStart, story: CutStory): Promise<CutStart> {
  const world = new CutWorld(
    {
      ...optionsOf('start'),
      breach: (kind, what) => {
        throw new Error(`${kind}: ${what}`)
      },
    },
    start.image,
    start.past,
  )
  const wrong = await finish(world, story)
  if (wrong !== undefined) throw new Error(`${story.name}: ${wrong}`)
  return { image: world.flash.image(), past: world.past }
}

function rotted(start: CutStart): CutStart {
  const world = new CutWorld({ ...optionsOf('rot'), breach: () => undefined }, start.image, start.past)
  const record = present(world.record, 'the boot record')
  const idle = record.active === 0 ? 1 : 0
  world.flash.rot(world.layout.slots[idle], record.images[idle].bytes, 3, random.fork('rot'))
  return { image: world.flash.image(), past: start.past }
}

const factory = factoryStart({ ...optionsOf('factory'), breach: () => undefined }, first)
/** As the others, but that the release of the second image names a patch from the first. */
const patchedOptions = (name: string): SweepOptions => ({
  ...optionsOf(name),
  images: [first, patched, third],
  repository: patchedRepository,
})
const install: CutStory = { name: 'install', target: second, seq: 1, healthy: true, other: third }
const patchInstall: CutStory = { ...install, name: 'patch install', target: patched, byPatch: true }
const installed = await after(factory, install)
const revert: CutStory = { name: 'revert', target: third, seq: 2, healthy: false, other: first }
const stories: readonly (readonly [CutStart, CutStory])[] = [
  [factory, install],
  [installed, revert],
  [installed, { name: 'rollback to the stored image', target: first, seq: 2, healthy: true, other: third }],
  [rotted(installed), { name: 'install over a rotted slot', target: first, seq: 2, healthy: true, other: third }],
]

say(
  `seed ${seed}; ${first.name}, ${second.name}, ${third.name}: ${first.bundle.length}, ${second.bundle.length}, ${third.bundle.length} bytes; flash of ${new FlashNor({ sizeBytes: 1_048_576 }).sizeBytes} bytes`,
)
/** Runs a part and says what it was. */
async function part(name: string, run: () => Promise<string>): Promise<void> {
  const [cuts, lived, sampled] = [tally.cuts, tally.lived, tally.sampled]
  const what = await run()
  const line = `${name}: ${what}${tally.cuts - cuts} cut points, ${tally.lived - lived} lived to the end, ${tally.sampled - sampled} more as a sample of those with an equal future`
  say(line)
  progress(line)
}

for (const [start, story] of stories) {
  await part(story.name, async () => {
    const { operations } = await sweep(optionsOf(story.name), start, story)
    return `${operations} flash operations, every one cut before, at every byte or 8 half-erased states, and after; `
  })
}
await part(patchInstall.name, async () => {
  const { operations } = await sweep(patchedOptions(patchInstall.name), factory, patchInstall)
  const bytes = `${present(patched.patches[0], 'the patch').length} of ${patched.bundle.length} bytes`
  return `${bytes}, ${operations} flash operations, every one cut as above; `
})
await part('link broken at every block', async () => {
  const ofBundle = await cutRadio(optionsOf('radio'), factory, install)
  const ofPatch = await cutRadio(patchedOptions('radio of a patch'), factory, patchInstall)
  return `${ofBundle} times in an install, ${ofPatch} in a patch install; `
})
await part('install cut, then revert cut', async () => {
  const quiet = { ...optionsOf('first of a pair'), tally: newTally() }
  const { ends } = await sweep(quiet, factory, install, edgesOf)
  let pairs = 0
  const { layout } = new CutWorld({ ...quiet, breach: () => undefined }, factory.image, factory.past)
  const memory = new CutMemory(layout, false)
  for (const [i, { end, cuts }] of ends.entries()) {
    const name = `revert after an install that was cut (ending ${i + 1} of ${ends.length})`
    const { operations } = await sweep(
      { ...optionsOf(name), weight: cuts, memory, sampleOneIn: 60 },
      end,
      { ...revert, name },
      edgesAndOneOf,
    )
    pairs += 2 * cuts * operations
    if (i % 5 === 4) progress(`${name}: ${pairs} pairs so far`)
  }
  return `all ${pairs} pairs of before and after, and a drawn byte or half-erased sector of each second operation (a sample); `
})
await part('writes of the boot record that fail', async () => {
  for (const [start, story] of stories) {
    for (let i = 0; i < 2; i++)
      await failRecords(
        optionsOf(`${story.name} ${i}`),
        start,
        story,
        1,
        undefined,
        `${story.name}, no record can be written`,
      )
    for (let i = 0; i < 8; i++) {
      const options = optionsOf(`${story.name} half ${i}`)
      const cutAt = Math.floor(options.random.next() * 60)
      await failRecords(
        options,
        start,
        story,
        0.5,
        cutAt,
        `${story.name}, half of the record writes fail, power cut at operation ${cutAt}, run ${i}`,
      )
    }
  }
  return 'at rate 1, and at rate 0.5 with a cut in the middle; '
})
await part('five cuts in a row', async () => {
  const orders = [install, { ...install, target: third, other: first }, { ...install, target: first, other: third }]
  for (let i = 0; i < seeds; i++) {
    await cutInARow(optionsOf(`row ${i}`), factory, orders, 5, 60, `five cuts in a row, seed ${seed}, run ${i}`)
    if (i % 20 === 19) progress(`${i + 1} runs of five cuts`)
  }
  return `${seeds} runs; `
})
say(
  'a watchdog reset after an operation leaves what a cut after it leaves; test/unit/device has one that ends a trial that hangs',
)
await engine.close()
const { breaches } = tally
for (const line of tally.stories) say(line)
if (breaches['broken promise'] > 0) say(`${breaches['broken promise']} broken promises`)
process.exitCode = Object.values(breaches).some((count) => count > 0) ? 1 : 0
say(
  `${tally.cuts} cut points, ${breaches.brick} bricks, ${breaches['unverified boot']} unverified boots, ${breaches['counter decrease']} counter decreases`,
)
