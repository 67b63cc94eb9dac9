/** Makes deliberate faults in a copy of the tree and tells which of them the tests notice:
 *
 *      npm run mutants [-- --sample 60 --seed 1 --skip 20 --under cloud/store --tests 12 --least 0.9]
 *      npm run mutants -- --listed [--only WORD] [--skip 100]
 *
 *  `--skip`: a run that was cut off goes on after so many of its faults. A sample is drawn by what a fault is and not by its place in a list, so that an
 *  edit elsewhere leaves it as it is.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { seededRandom } from '../../contract/random.ts'
import { type Concerned, ConcernedTests } from './concerned-tests.ts'
import { LISTED_FAULTS, located } from './listed-faults.ts'
import { type Mutant, mutationsOf } from './mutations.ts'
import { filesOf, TrialCopy } from './trial.ts'

/** What the sample is drawn from. */
const PARTS = ['contract/', 'device/core/', 'gateway/', 'cloud/rollout/', 'cloud/trust/', 'cloud/store/']
/** A schema is never edited, so its faults are none that anybody can make. */
const LEFT_OUT = ['cloud/store/migrations.ts']
/** Chosen: a dozen test files take half a minute, the dear ones two, on two busy cores. */
const TIMEOUT_MS = 300_000

interface Task {
  readonly mutant: Mutant
  readonly tests: Concerned
  readonly name: string
}

// From dist/test/mutants.
const root = fileURLToPath(new URL('../../..', import.meta.url))

const { values } = parseArgs({
  options: {
    sample: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    skip: { type: 'string', default: '0' },
    tests: { type: 'string', default: '12' },
    under: { type: 'string', default: '' },
    least: { type: 'string', default: '0' },
    listed: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
  },
})

function whole(name: 'sample' | 'seed' | 'skip' | 'tests', least: number): number {
  const value = Number(values[name])
  if (Number.isSafeInteger(value) && value >= least) return value
  console.error(`mutants: --${name} is a whole number from ${least} on`)
  process.exit(2)
}
const [sample, seed, skip, testsMax] = [whole('sample', 1), whole('seed', 0), whole('skip', 0), whole('tests', 1)]
const least = Number(values.least)
if (!(least >= 0 && least <= 1)) {
  console.error('mutants: --least is a share from 0 to 1')
  process.exit(2)
}

const files = filesOf(root)
const concerned = new ConcernedTests(root, files)
const sourceOf = (file: string): string => readFileSync(join(root, file), 'utf8')

function drawn(): Task[] {
  const random = seededRandom(seed)
  const all = files
    .filter((file) => /\.ts$/.test(file) && PARTS.some((part) => file.startsWith(part)))
    .filter((file) => file.startsWith(values.under) && !LEFT_OUT.includes(file))
    .flatMap((file) => {
      const source = sourceOf(file)
      const seen = new Map<string, number>()
      return mutationsOf(file, source).map((mutant) => {
        const line = source.split('\n')[mutant.line - 1]?.trim() ?? ''
        const name = `${source.slice(mutant.start, mutant.end)} → ${mutant.text}`.replace(/\s+/g, ' ')
        const identity = `${file} ${line} ${name}`
        const count = seen.get(identity) ?? 0
        seen.set(identity, count + 1)
        return { mutant, name, draw: random.fork(`${identity} ${count}`).next() }
      })
    })
  console.error(
    `${all.length} faults can be made, ${Math.max(0, Math.min(sample, all.length) - skip)} of them are; seed ${seed}`,
  )
  return all
    .sort((a, b) => a.draw - b.draw)
    .slice(skip, sample)
    .map(({ mutant, name }) => ({ mutant, name, tests: concerned.of(mutant.file, testsMax) }))
}

const listed = (): Task[] =>
  LISTED_FAULTS.filter(({ name, file, noticedBy }) => `${name} ${file} ${noticedBy ?? ''}`.includes(values.only)).map(
    (fault) => ({
      mutant: located(fault, sourceOf(fault.file)),
      name: fault.name,
      tests: fault.noticedBy === undefined ? concerned.of(fault.file, testsMax) : { cheap: fault.noticedBy, dear: [] },
    }),
  )

const tasks = values.listed ? listed().slice(skip) : drawn()
const copy = new TrialCopy(root, files, TIMEOUT_MS)
const counts = { noticed: 0, hung: 0, missed: 0, undecided: 0 }
process.on('exit', () => copy.remove())
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130))

for (const { mutant, tests, name } of tasks) {
  const startedMs = performance.now()
  const { verdict, by } = await copy.try(mutant, tests)
  counts[verdict]++
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(0)
  const shown = name.length > 140 ? `${name.slice(0, 140)}…` : name
  console.log(
    `${verdict.padEnd(9)} ${mutant.file}:${mutant.line}  ${shown}  (${by ?? `${tests.cheap.length} + ${tests.dear.length} files`}, ${seconds} s)`,
  )
}
const found = counts.noticed + counts.hung
const share = tasks.length === 0 ? 1 : found / tasks.length
console.log(
  `${found} of ${tasks.length} noticed (${(100 * share).toFixed(0)} %), ${counts.hung} of them by tests that never end; ${counts.missed} missed, ${counts.undecided} undecided`,
)
process.exitCode = share >= least ? 0 : 1
