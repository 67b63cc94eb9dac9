import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { seededRandom } from '../../contract/random.ts'
import { fuzzTarget } from '../fuzz/fuzz-run.ts'
import { fuzzTargets } from '../fuzz/fuzz-targets.ts'
import { provisioned } from '../fuzz/provisioned.ts'

/** Chosen: a few seconds; `npm run fuzz` is the million. */
const INPUTS = 20_000
const SEED = 20_261_121

const zoo = join(import.meta.dirname, '../../zoo')
const bundle = new Uint8Array(readFileSync(join(zoo, 'bundles/kws-2.kinglet')))
const words = join(zoo, 'bank/keyword/go')
const targets = await fuzzTargets({
  bundle,
  graph: new Uint8Array(readFileSync(join(zoo, 'models/kws-lite.onnx'))),
  clip: new Uint8Array(readFileSync(join(words, readdirSync(words).sort()[0]!))),
  flash: () => provisioned(bundle),
})
const weights = targets.reduce((sum, { weight }) => sum + weight, 0)

it.each(targets.map((target) => [target.name, target] as const))(
  `%s: neither falls over nor accepts what was changed (seed ${SEED})`,
  async (name, target) => {
    const inputs = Math.ceil((INPUTS * target.weight) / weights)
    const { report, failures } = await fuzzTarget(target, inputs, seededRandom(SEED).fork(name), () => undefined)
    expect(failures).toEqual([])
    expect(report.inputs).toBeGreaterThanOrEqual(inputs)
    // Most of what is changed must be refused, or the target looks at nothing.
    expect(report.accepted).toBeLessThan(report.inputs / 1.5)
  },
  60_000,
)

it('finds a decoder that throws, one that accepts anything, and one that takes too much memory', async () => {
  const base = { corpus: [Uint8Array.of(1, 2, 3, 4)], weight: 1, allocationBytes: 1024 * 1024 }
  const found = async (run: (input: Uint8Array) => string) => {
    const target = { ...base, name: 'broken', run }
    const { failures } = await fuzzTarget(target, 300, seededRandom(1), () => undefined)
    return failures.map(({ why }) => why)
  }
  expect(
    await found((input) => (input[0] === 1 && input.length > 4 ? (null as unknown as string[])[0]! : 'accepted')),
  ).toContainEqual(expect.stringMatching(/TypeError/))
  expect(await found(() => 'accepted')).toContain('accepts 64 MiB')
  const kept: Uint8Array[] = []
  const greedy = await found((input) => {
    kept.push(new Uint8Array(input.length > 100 ? 0 : 8 * 1024 * 1024))
    return input.length === 4 && input[3] === 4 ? 'accepted' : 'malformed'
  })
  expect(greedy).toContainEqual(expect.stringMatching(/allocated \d+ bytes, limit 1048576/))
})
