import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import ts from 'typescript'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { type PatchVector, readPatchVectors } from '../../cli/patch/patch-vectors.ts'
import { verifyDecoder } from '../../cli/patch/patch-verify-decoder.ts'
import { sha256, sha256Hex } from '../../contract/bytes.ts'
import {
  encodePatchHeader,
  PATCH_METHODS,
  PATCH_VERSIONS,
  type PatchVersion,
  readPatchHeader,
  sha256Half,
} from '../../contract/patch/patch-header.ts'
import { seededRandom } from '../../contract/random.ts'
import { makePatch } from '../../release/patch/make-patch.ts'
import { decodeByThePage } from '../conformance/patch-second-decoder.ts'
import { applyPatch } from '../fixtures/patch.ts'
import { offsetTables } from '../fixtures/patch-models.ts'
import { plannedPatch, plans } from '../fixtures/patch-plans.ts'

/** Vectors for decoders that are not ours (`kinglet patch verify-decoder`). As the golden patches they stay what they are;
 *  KINGLET_WRITE_GOLDEN=1 makes a file where there is none. */
const FILES: Readonly<Record<PatchVersion, string>> = {
  1: join(import.meta.dirname, '../fixtures/patch-vectors.json'),
  2: join(import.meta.dirname, '../fixtures/patch-vectors-2.json'),
}

/** What somebody made who had only docs/patch.md, by a coder whose bits are drawn or forced: every check by a patch that only it refuses, long
 *  runs, lengths and floats at their ends. Both decoders gave the hashes. */
const HARD = join(import.meta.dirname, '../fixtures/patch-vectors-hard.json')

type Written = { name: string; base: string | null; patch: string; sha256: string | null; error?: string }

function written(version: PatchVersion): Written[] {
  const random = seededRandom(31)
  const below = (most: number) => Math.floor(random.next() * most)
  const words = Array.from({ length: 40 }, () => Array.from({ length: 2 + below(7) }, () => 97 + below(26)))
  const text = (count: number) =>
    Uint8Array.from(Array.from({ length: count }, () => [...words[below(40)]!, 32]).flat())
  const noise = (length: number) => Uint8Array.from({ length }, () => below(256))
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')
  const valid = (name: string, base: Uint8Array | null, result: Uint8Array, patch: Uint8Array): Written => ({
    name,
    base: base && base64(base),
    patch: base64(patch),
    sha256: sha256Hex(result),
  })
  const image = (bytes: Uint8Array) => ({ bytes: bytes.length, sha256Half: sha256Half(sha256(bytes)) })
  const stored = Array.from({ length: 60 }, (_, i) => {
    const result = noise(3 * i)
    const base = i % 3 === 0 ? noise(40) : null
    const header = encodePatchHeader({ version, method: 'stored', base: base && image(base), result: image(result) })
    return valid(`stored ${i + 1}`, base, result, Buffer.concat([header, result]))
  })
  const numbers = fc.sample(plans, { seed: 71, numRuns: 60 }).map((plan, i) => {
    const { result, patch } = plannedPatch(plan, version)
    return valid(`numbers ${i + 1}`, plan.base, result, patch)
  })
  const bytes = Array.from({ length: 60 }, (_, i) => {
    if (version > 1 && i % 6 === 4) {
      const [base, result] = [offsetTables().subarray(0, 2_000), offsetTables(4 * i, i).subarray(0, 2_000)]
      return valid(`bytes ${i + 1}`, base, result, makePatch(base, result, { version }))
    }
    const base = text(60)
    // Moved, cut, repeated, with single bytes changed.
    const changed = base.map((byte) => (random.next() < 0.02 * (i % 5) ? byte ^ (1 + below(30)) : byte))
    const at = below(base.length)
    const result = Buffer.concat([
      changed.subarray(at),
      text(i % 12),
      changed.subarray(0, at),
      changed.subarray(0, 5 * i),
    ])
    return i % 6 === 5
      ? valid(`bytes ${i + 1}`, null, result, makePatch(null, result, { version }))
      : valid(`bytes ${i + 1}`, base, result, makePatch(base, result, { version }))
  })
  const refused: Written[] = []
  const refuse = (what: string, from: Written, change: (patch: Uint8Array) => Uint8Array, base = from.base): void => {
    const patch = change(new Uint8Array(Buffer.from(from.patch, 'base64')))
    const made = applyPatch(base === null ? null : Buffer.from(base, 'base64'), patch)
    if (made.ok) return
    refused.push({ name: `refused: ${what}`, base, patch: base64(patch), sha256: null, error: made.error.code })
  }
  const at = (i: number, value: number) => (patch: Uint8Array) => patch.with(i, value)
  const [one, two, three] = [stored[9]!, numbers[3]!, bytes[10]!]
  for (const [kind, vector] of Object.entries({ stored: one, numbers: two, bytes: three })) {
    refuse(`${kind}, no magic`, vector, at(0, 0x4a))
    refuse(`${kind}, version 0`, vector, at(2, 0))
    refuse(`${kind}, method 5`, vector, at(3, 13))
    refuse(`${kind}, ends in its header`, vector, (patch) => patch.subarray(0, 30))
    refuse(`${kind}, a byte behind its end`, vector, (patch) => Uint8Array.from([...patch, 1]))
    refuse(`${kind}, ends early`, vector, (patch) => patch.subarray(0, patch.length - 12))
    if (kind !== 'stored') refuse(`${kind}, another base`, vector, (patch) => patch, base64(noise(50)))
  }
  for (let i = 44; refused.length < 28; i += 3)
    refuse(`bytes, byte ${i} changed`, three, (patch) => patch.with(i, patch[i]! ^ 0x3c))
  return [...stored, ...bytes, ...numbers, ...refused]
}
if (process.env.KINGLET_WRITE_GOLDEN === '1') {
  for (const version of PATCH_VERSIONS) {
    if (existsSync(FILES[version])) continue
    const lines = written(version).map((each) => JSON.stringify(each))
    writeFileSync(FILES[version], `[\n${lines.join(',\n')}\n]\n`)
  }
}

/** @returns hash of what a decoder makes; null when it refuses */
const ours = ({ base, patch }: PatchVector): string | null => {
  const made = applyPatch(base, patch)
  return made.ok ? sha256Hex(made.value) : null
}
const byThePage = ({ base, patch }: PatchVector): string | null => {
  try {
    return sha256Hex(decodeByThePage(base ?? new Uint8Array(0), patch))
  } catch {
    return null
  }
}

describe.each(PATCH_VERSIONS)('test vectors of patches of version %i', (version) => {
  const vectors = readPatchVectors(FILES[version])

  it('are sixty of each method and twenty that are to be refused, in a small file', () => {
    const methods = vectors
      .filter((each) => each.sha256 !== null)
      .map(({ patch }) => {
        const header = readPatchHeader(patch)
        return header.ok && header.value.header.version === version ? header.value.header.method : 'none'
      })
    expect(PATCH_METHODS.map((method) => methods.filter((each) => each === method).length)).toEqual([60, 60, 60])
    expect(vectors.length - methods.length).toBeGreaterThanOrEqual(20)
    expect(readFileSync(FILES[version]).length).toBeLessThan(300_000)
  })

  it('are what our decoder and the one that follows the page make and refuse', () => {
    const wrong = (decode: typeof ours) =>
      vectors.filter((each) => decode(each) !== each.sha256).map(({ name }) => name)
    expect(wrong(ours)).toEqual([])
    expect(wrong(byThePage)).toEqual([])
  })
})

it('vectors of the corners of the format are what both decoders make and refuse', () => {
  const vectors = readPatchVectors(HARD)
  expect(vectors.filter(({ sha256 }) => sha256 === null).length).toBeGreaterThan(90)
  for (const decode of [ours, byThePage])
    expect(vectors.filter((each) => decode(each) !== each.sha256).map(({ name }) => name)).toEqual([])
})

const folder = mkdtempSync(join(tmpdir(), 'kinglet-vectors-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('kinglet patch verify-decoder', () => {
  const source = readFileSync(join(import.meta.dirname, '../conformance/patch-second-decoder.ts'), 'utf8')
  const module = ts.ModuleKind.ESNext
  const { outputText } = ts.transpileModule(source, { compilerOptions: { module, target: ts.ScriptTarget.ES2022 } })
  const main = `
import { readFileSync } from 'node:fs'
process.stdout.write(decodeByThePage(readFileSync(process.argv[2]), readFileSync(0)))
`
  const few = join(folder, 'few.json')
  const lines = JSON.parse(readFileSync(FILES[2], 'utf8')) as Written[]
  const chosen = [lines[10]!, lines[70]!, lines[130]!, lines.at(-1)!]
  writeFileSync(few, JSON.stringify(chosen))
  const script = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return `${process.execPath} ${join(folder, name)}`
  }
  const printed = async (exec: string, path = few) => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => undefined)
    try {
      const failure = await verifyDecoder(path, { exec }).then(
        () => undefined,
        (cause: Error) => cause.message,
      )
      return { failure, lines: log.mock.calls.map(([line]) => String(line)) }
    } finally {
      log.mockRestore()
    }
  }

  it('says that a decoder is right that makes and refuses what ours does', async () => {
    const { failure, lines } = await printed(script('right.mjs', outputText + main))
    expect([failure, lines]).toEqual([undefined, [expect.stringMatching(/right on all 4 vectors/)]])
  })

  it('says what is wrong with one that makes something else, takes everything, or fails', async () => {
    const copies = await printed(script('copies.mjs', 'process.stdin.pipe(process.stdout)'))
    expect(copies.failure).toMatch(/wrong on 4 of 4 vectors/)
    expect(copies.lines[0]).toMatch(/^stored 11: it made \d+ bytes with another hash/)
    expect(copies.lines[3]).toMatch(/^refused.*it takes a malformed patch/)
    const fails = await printed(script('fails.mjs', "console.error('no such method'); process.exit(3)"))
    expect(fails.failure).toMatch(/wrong on 3 of 4/)
    expect(fails.lines[0]).toMatch(/it ended with 3: no such method/)
  })

  it('refuses a command that is not there, and a file that is no vectors', async () => {
    expect((await printed(join(folder, 'none'))).failure).toMatch(/there is no such command/)
    expect((await printed(' ')).failure).toMatch(/names no command/)
    writeFileSync(join(folder, 'bad.json'), '[{"name":"x"}]')
    expect((await printed('true', join(folder, 'bad.json'))).failure).toMatch(/no test vectors of patches/)
  })
})
