import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { canonicalize } from '@tufjs/canonical-json'
import { describe, expect, it } from 'vitest'
import { SCRYPT_COST } from '../../cli/keys/key-seal.ts'
import { storyCommand } from '../../cli/story/story-command.ts'
import { LIMITS, TUF_LIMITS } from '../../contract/limits.ts'
import type { PatchVersion } from '../../contract/patch/patch-header.ts'
import { PATCH_STATE_BYTES } from '../../contract/patch/patch-state.ts'
import { type Release, releaseSchema } from '../../contract/release.ts'
import { TRUST_BYTES } from '../../device/core/flash/flash-layout.ts'
import { DAMAGED_MAX } from '../../device/core/update/download.ts'
import { RETRIES_MAX, RETRY_DELAY_MS } from '../../device/core/update/update.ts'
import { VirtualClock } from '../../firmware-sim/clock-virtual.ts'
import { mfccDefinitionV1 } from '../../model/features/mfcc-definition.ts'
import { makePatch } from '../../release/patch/make-patch.ts'
import { type Card, renderCard, sha256 } from '../../zoo/card.ts'
import { testRelease } from '../fixtures/test-release.ts'
import { files, ROOT, textOf } from './documents.ts'

const bundle = (name: string) => readFileSync(join(ROOT, `zoo/bundles/${name}.kinglet`))
const network = (name: string) => readFileSync(join(ROOT, `zoo/models/${name}.onnx`))

const made = new Map<string, number>()
/** Makes each patch once: together they take some seconds.
 *  @param version 1 for what goes on the air: version 2 saves less in these than its entry in the metadata takes */
function patchBytes(
  read: (name: string) => Uint8Array,
  from: string | null,
  to: string,
  version: PatchVersion = 2,
): number {
  const key = `${read.name} ${from} ${to} ${version}`
  const known = made.get(key)
  if (known !== undefined) return known
  const bytes = makePatch(from === null ? null : read(from), read(to), { version }).length
  made.set(key, bytes)
  return bytes
}

/** 14363 as "14 363", as documents write it. */
const spaced = (value: number): string => String(value).replace(/(?<=\d)(?=(\d{3})+$)/g, ' ')
const kB = (bytes: number): string => (bytes / 1000).toFixed(1)
const ORDINALS = ['', '', 'half', 'third', 'quarter', 'fifth', 'sixth', 'seventh', 'eighth', 'ninth', 'tenth']

/** Rows of a table of bench/RESULTS.md, cell by cell. */
const rowsOf = (document: string): string[][] =>
  textOf(document)
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )

const measured = (pair: string) => {
  const row = rowsOf('bench/RESULTS.md').find(([name, , patch]) => name === pair && /^\d+$/.test(patch ?? ''))
  if (row === undefined) throw new Error(`bench/RESULTS.md has no row ${pair}`)
  const [, newBytes, patch, , best] = row
  return { newBytes: Number(newBytes), patch: Number(patch), bestGeneric: Number(patch) / Number.parseFloat(best!) }
}

/** Sentences with a number in them, and the number as the code or a committed file gives it today. */
const said = (document: string, sentence: string) => {
  const text = textOf(document).replace(/\s+/g, ' ')
  return { holds: text.includes(sentence), sentence: `${document}: ${sentence}` }
}
function expectSaid(...sentences: readonly (readonly [document: string, sentence: string])[]): void {
  const absent = sentences.map(([document, sentence]) => said(document, sentence)).filter(({ holds }) => !holds)
  expect(absent.map(({ sentence }) => sentence)).toEqual([])
}

describe('numbers in documents', () => {
  it('patches of the zoo are as small as README and zoo say', () => {
    const update = patchBytes(bundle, 'kws-1', 'kws-2', 1)
    const sparse = patchBytes(bundle, 'kws-1', 'kws-2-sparse', 1)
    const full = patchBytes(bundle, null, 'kws-2-sparse', 1)
    const generic = measured('kws-1 → kws-2 (bundle)').bestGeneric
    expectSaid(
      [
        'README.md',
        `\`kws-1\` to \`kws-2\` takes ${kB(update)} kB on the air where the best byte tool needs ${kB(generic)}`,
      ],
      ['README.md', `on single clips in ${kB(sparse)} kB, a ${ORDINALS[Math.round(full / sparse)]} of a full image`],
      ['README.md', `in a patch of ${kB(sparse)} kB instead of ${kB(update)}`],
      ['zoo/README.md', `in a patch of ${kB(sparse)} kB instead of ${kB(update)}`],
      [
        'zoo/README.md',
        `\`kws-2-sparse.kinglet\` is ${spaced(sparse)} bytes from \`kws-1.kinglet\`, ${(sparse / full).toFixed(3)} of its full ${spaced(full)}; \`kws-2.kinglet\` is ${spaced(update)}`,
      ],
    )
  })

  it("the zoo's pairs in bench/RESULTS.md are what the encoder makes of them", () => {
    const pairs = [
      ['kws-1', 'kws-2', network],
      ['kws-1', 'kws-2-frozen', network],
      ['kws-1', 'kws-2-head', network],
      ['kws-1', 'kws-2-sparse', network],
      ['kws-1', 'kws-2', bundle],
      ['kws-2', 'kws-regressed', bundle],
      ['kws-1', 'kws-2-sparse', bundle],
    ] as const
    for (const [from, to, read] of pairs) {
      const row = measured(`${from} → ${to} (${read.name})`)
      expect([from, to, read.name, row.newBytes, row.patch]).toEqual([
        from,
        to,
        read.name,
        read(to).length,
        patchBytes(read, from, to),
      ])
    }
  })

  it('the table of small updates is docs/patch-sizes.json, whose networks are the committed ones', () => {
    interface Setting {
      readonly name: string
      readonly changedWeightsPercent: number
      readonly changedBiases: number
      readonly patchBytes: { readonly bundle: number; readonly onnx: number }
      readonly fullBytes: { readonly bundle: number; readonly onnx: number }
      readonly accuracy: { readonly quiet: number; readonly zeroDb: number; readonly zeroDbManyDraws: number }
    }
    const { settings, clips } = JSON.parse(textOf('docs/patch-sizes.json')) as { settings: Setting[]; clips: number }
    const percent = (share: number) => `${(100 * share).toFixed(1)} %`
    const rows = new Map(rowsOf('zoo/README.md').map(([name, ...cells]) => [name!.replace(/[*`]/g, ''), cells]))
    expect(settings.length).toBeGreaterThan(10)
    for (const { name, changedWeightsPercent, changedBiases, patchBytes: patch, fullBytes, accuracy } of settings) {
      expect([name, ...(rows.get(name) ?? [])]).toEqual([
        name,
        `${changedWeightsPercent.toFixed(1)} %`,
        String(changedBiases),
        spaced(patch.bundle),
        (patch.bundle / fullBytes.bundle).toFixed(3),
        spaced(patch.onnx),
        percent(accuracy.quiet),
        percent(accuracy.zeroDb),
        percent(accuracy.zeroDbManyDraws),
      ])
    }
    const byName = new Map(settings.map((setting) => [setting.name, setting.patchBytes.onnx]))
    for (const [setting, model] of [
      ['kws-2', 'kws-2'],
      ['sparse-10', 'kws-2-sparse'],
      ['frozen', 'kws-2-frozen'],
      ['head', 'kws-2-head'],
    ] as const) {
      expect([setting, byName.get(setting)]).toEqual([setting, patchBytes(network, 'kws-1', model)])
    }
    expectSaid(['zoo/README.md', `still of the same ${clips} clips`])
  })

  it('cards for people say what the cards for programs say, of the committed networks', () => {
    const cards = [...files].filter((file) => /^zoo\/cards\/.*\.json$/.test(file))
    expect(cards.length).toBeGreaterThan(5)
    for (const file of cards) {
      const card = JSON.parse(textOf(file)) as Card
      expect(textOf(file.replace(/json$/, 'md'))).toBe(renderCard(card))
      expect([card.bytes, card.sha256]).toEqual([network(card.name).length, sha256(network(card.name))])
    }
  })

  it('bounds and defaults are the ones of the code', () => {
    const kib = (bytes: number) => `${bytes / 1024} KiB`
    const window = `${mfccDefinitionV1.frames} × ${mfccDefinitionV1.coefficients}`
    const featureBytes = mfccDefinitionV1.frames * mfccDefinitionV1.coefficients
    const story = storyCommand(new VirtualClock(0))
    const devices = String(story.options.find(({ long }) => long === '--devices')?.defaultValue)
    const { engines } = JSON.parse(textOf('package.json')) as { engines: { node: string } }
    const node = engines.node.replace('>=', '')
    const lastRetry = (RETRY_DELAY_MS / 60_000) * 2 ** (RETRIES_MAX - 1)
    expect(RETRIES_MAX).toBe(8)
    expect(DAMAGED_MAX).toBe(8)
    expectSaid(
      ['README.md', `Node ${node} or later`],
      ['CONTRIBUTING.md', `Node ${node} or later`],
      ['README.md', `a gateway and ${devices} simulated devices`],
      ['README.md', `Devices decode with ${kib(PATCH_STATE_BYTES)} of state`],
      ['docs/patch.md', `${kib(PATCH_STATE_BYTES)} of state and one page`],
      ['docs/architecture.md', `in blocks of ${kib(LIMITS.blockBytes)}`],
      ['docs/architecture.md', `(≤ ${LIMITS.reportDefaultBytes} bytes)`],
      ['docs/architecture.md', `(${featureBytes} bytes)`],
      ['zoo/README.md', `carries ${featureBytes} such bytes`],
      ['docs/bundle.md', `keyword-spotting MFCC (${window})`],
      ['docs/install.md', `2 × ${kib(TRUST_BYTES)} and a header`],
      ['docs/install.md', `2 × ${kib(PATCH_STATE_BYTES)}, a sector and a header`],
      ['docs/install.md', `1, 2, 4 … ${lastRetry} minutes`],
      ['docs/install.md', 'After eight repetitions'],
      ['docs/install.md', 'asked for again, eight times in a row'],
      [
        'docs/security.md',
        `scrypt N = 2${[...String(Math.log2(SCRYPT_COST.n))].map((digit) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(digit)]).join('')}`,
      ],
    )
  })

  it('sizes of metadata in limits.ts are the measured ones', () => {
    const { release, sha256: hash } = testRelease('kws-2', 2, { boards: ['NUCLEO-U575ZI', 'NUCLEO-U385RG'] })
    const target = (patches: number) => {
      const named = Array.from({ length: patches }, (_, i) => ({
        base: sha256(Uint8Array.of(i)),
        sha256: hash,
        bytes: 14_363,
      }))
      const kinglet: Release = { ...release, bytes: 73_264, ...(patches > 0 && { patches: named }) }
      expect(releaseSchema.safeParse(kinglet).success).toBe(true)
      const file = { length: kinglet.bytes, hashes: { sha256: hash }, custom: { kinglet } }
      return canonicalize({ 'kws-2/2.kinglet': file }).length - 1
    }
    const [bare, each] = [target(0), target(2) - target(1)]
    const withFour = Math.floor(TUF_LIMITS.targetsBytes / (target(4) * 10)) * 10
    const source = textOf('contract/limits.ts')
    expect(source).toContain(`two boards is ${bare} bytes, and each of its patches ${each} more`)
    expect(source).toContain(`some ${withFour} targets of four patches`)
  })
})
