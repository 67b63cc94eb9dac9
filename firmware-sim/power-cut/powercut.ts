import { parseArgs } from 'node:util'
import { present } from '../../contract/present.ts'
import { seededRandom } from '../../contract/random.ts'
import { EngineOrtNode } from '../../model/engine/engine-ort-node.ts'
import { RememberedEngine } from './engine-remembered.ts'
import { CUT_CHIPS } from './power-cut-chips.ts'
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
} from './power-cut-courses.ts'
import { sweepIdentity } from './power-cut-identity.ts'
import { cutRepository, type TrialImage, trialImage, withPatch } from './power-cut-images.ts'
import { CutMemory } from './power-cut-memory.ts'
import { type CutCourse, type CutStart, type CutStory, factoryStart } from './power-cut-story.ts'
import {
  cutInARow,
  cutRadio,
  edgesAndOneOf,
  edgesOf,
  failRecords,
  newTally,
  recordFaultsOf,
  type SweepOptions,
  sweep,
  sweepTwice,
  undecidedOf,
} from './power-cut-sweep.ts'
import { type Breach, CutWorld } from './power-cut-world.ts'

const USAGE = `usage: npm run powercut -- [--seeds N] [--seed S] [--only TEXT]

Cuts the power of one device at every flash operation of installs, confirmations, reverts, rollbacks, fall-backs, enrolments, of what it
trusts, keeps and is flashed with, on three kinds of flash, and boots what is left.
  --seeds N   runs of five cuts in a row, drawn (default 60)
  --seed S    seed of all that is drawn (default 1)
  --only TEXT the parts whose name has it, as "factory" or "8 KiB/8 B"
`

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
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
let parts = 0
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

const factory = factoryStart({ ...optionsOf('factory'), breach: () => undefined }, first)
/** As the others, but that the release of the second image names a patch from the first. */
const patchedOptions = (name: string): SweepOptions => ({
  ...optionsOf(name),
  images: [first, patched, third],
  repository: patchedRepository,
})
const install: CutStory = { name: 'install', target: second, seq: 1, healthy: true, other: third }
const patchInstall: CutStory = { ...install, name: 'patch install', target: patched, byPatch: true }
const installed = await settled(optionsOf('start'), factory, install)
const revert: CutStory = { name: 'revert', target: third, seq: 2, healthy: false, other: first }
const stories: readonly (readonly [CutStart, CutStory])[] = [
  [factory, install],
  [installed, revert],
  [installed, { name: 'rollback to the stored image', target: first, seq: 2, healthy: true, other: third }],
  [
    rotted(optionsOf('rot'), installed, 'idle', random.fork('rot')),
    { name: 'install over a rotted slot', target: first, seq: 2, healthy: true, other: third },
  ],
]

say(
  `seed ${seed}; ${first.name}, ${second.name}, ${third.name}: ${first.bundle.length}, ${second.bundle.length}, ${third.bundle.length} bytes; flash of ${CUT_CHIPS[0].name} unless another is named`,
)
const NAMES: Readonly<Record<Breach, string>> = {
  ...{ brick: 'bricks', 'unverified boot': 'unverified boots', 'counter decrease': 'counter decreases' },
  ...{ 'lost message': 'lost messages', 'broken promise': 'broken promises' },
}
/** Runs a part and says what it was. */
async function part(name: string, run: () => Promise<string>): Promise<void> {
  if (!name.includes(values.only)) return
  parts++
  const [cuts, lived, sampled] = [tally.cuts, tally.lived, tally.sampled]
  const before = new Map(Object.entries(tally.breaches))
  const what = await run()
  const line = `${name}: ${what}${tally.cuts - cuts} cut points, ${tally.lived - lived} lived to the end, ${tally.sampled - sampled} more as a sample of those with an equal future`
  say(line)
  progress(line)
  const found = Object.entries(tally.breaches).map(
    ([breach, count]) => `${count - (before.get(breach) ?? 0)} ${NAMES[breach as Breach]}`,
  )
  say(`  ${found.join(', ')}`)
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
/** chosen: of the long stories on the other chips so many of all points; their orders of writes are the same */
const OTHER_CHIPS_SHARE = 0.05
/** chosen: of the bytes of a bundle that the factory programs in one go; each is a state of its own */
const FACTORY_SHARE = 0.002
const images = [first, second, third]
for (const chip of CUT_CHIPS) {
  const on = (name: string): SweepOptions => ({ ...optionsOf(`${name} on ${chip.name}`), chip })
  const made = factoryStart({ ...on('factory'), breach: () => undefined }, first)
  const updated = await settled(on('start'), made, install)
  const damaged = rotted(on('damaged'), updated, 'active', random.fork('rot'))
  const told = ({ operations, twice }: { operations: number; twice: number }) =>
    `${operations} flash operations, every one cut as above, and each of ${twice} different flashes again in every way; `
  const trust: [string, CutStart, SweepOptions, CutCourse][] = [
    ['first trust', made, on('first trust'), pollOf('first trust', repository)],
  ]
  for (const [name, { before, after }] of [
    ['new timestamp', newTimestamp(images)],
    ['new root', newRoot(images)],
    ['fast-forward recovery', fastForwardRecovery(images)],
  ] as const) {
    const start = await settled({ ...on('trusting'), repository: before }, made, pollOf('trusting', before))
    trust.push([name, start, { ...on(name), repository: after }, pollOf(name, after)])
  }
  const short: typeof trust = [
    ['fall-back', damaged, on('fall-back'), bootAndTell('fall-back')],
    ['image-found', recordLost(on('lost'), updated, first), on('image-found'), bootAndTell('image-found')],
    ...trust,
    ['spool', made, on('spool'), outage],
  ]
  for (const [name, start, options, course] of short) {
    await part(`${name}, ${chip.name}`, async () => told(await sweepTwice(options, start, course)))
  }
  await part(`identity, ${chip.name}`, async () => {
    const options = { chip, tally, random: random.fork(`identity ${chip.name}`), cuts: 2, share: 1 }
    const operations = [await sweepIdentity('enrol', options), await sweepIdentity('rotate', options)]
    return `${operations.join(' and ')} flash operations of an enrolment and of a new key, cut as above and again; `
  })
  await part(`factory, ${chip.name}`, async () => {
    const share = { ...on('blank'), share: FACTORY_SHARE }
    const blank = { image: new Map(), past: { ...made.past, confirmed: '' } }
    const flashed = factoryFlashes('blank flash', first, true, 0)
    await sweep(share, blank, flashed)
    const { securityCounter } = updated.past
    const used = factoryFlashes('used flash', first, false, securityCounter)
    await sweep({ ...on('used'), share: 10 * FACTORY_SHARE }, updated, used)
    await sweep(on('records of blank flash'), blank, flashed, recordFaultsOf)
    await sweep(on('records of used flash'), updated, used, recordFaultsOf)
    return `a sample of ${FACTORY_SHARE} of all points of blank flash, ten times that of used flash, and every point of the erases and records of both; `
  })
  await part(`undecided bits, ${chip.name}`, async () => {
    const undecided = (name: string): SweepOptions => ({ ...on(name), undecided: random.fork(`bits ${name}`) })
    await sweepTwice(undecided('fall-back'), damaged, bootAndTell('fall-back, undecided'), undecidedOf)
    const trusting = pollOf('first trust, undecided', repository)
    await sweepTwice(undecided('first trust'), made, trusting, undecidedOf)
    await sweep(undecided('spool'), made, { ...outage, name: 'spool, undecided' }, undecidedOf)
    await sweep(undecided('install'), made, { ...install, name: 'install, undecided' }, undecidedOf)
    return 'the word or sector of the cut reads differently each time; one cut in spool and install, two in fall-back and first trust; '
  })
  if (chip !== CUT_CHIPS[0]) {
    await part(`long stories, ${chip.name}`, async () => {
      const share = (name: string): SweepOptions => ({ ...on(name), share: OTHER_CHIPS_SHARE })
      await sweep(share('install'), made, install)
      await sweep(share('revert'), updated, revert)
      await sweep(share('fall-back and install'), damaged, { ...install, seq: 2 })
      return `install, revert, and install after a fall-back: a sample of ${OTHER_CHIPS_SHARE} of all points; `
    })
  }
}
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
if (parts === 0) {
  process.stderr.write(`powercut: no part has "${values.only}" in its name; without --only all of them run\n`)
  process.exit(2)
}
const { breaches } = tally
for (const line of tally.stories) say(line)
process.exitCode = Object.values(breaches).some((count) => count > 0) ? 1 : 0
const all = Object.entries(breaches).map(([breach, count]) => `${count} ${NAMES[breach as Breach]}`)
say(`${tally.cuts} cut points, ${all.join(', ')}`)
