import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { expectRefusal, kinglet, ROOT } from './cli-process.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-output-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const out = join(dir, 'out')
const OLD = 'what somebody still needs\n'
const KWS_1 = join(ROOT, 'zoo/bundles/kws-1.kinglet')
const nowhere = ['--cloud', 'http://127.0.0.1:1', '--token-file', 'none']
beforeEach(() => {
  for (const file of readdirSync(dir)) rmSync(join(dir, file))
  writeFileSync(out, OLD)
})

/** The pack file of kws-1 with its paths made absolute by its place: only golden audio and card are not in the zoo's folder. */
function packFile(): string {
  const json = JSON.parse(readFileSync(join(ROOT, 'zoo/bundles/kws-1.pack.json'), 'utf8')) as Record<string, unknown>
  const spec = {
    ...json,
    graphs: ['kws-1', 'kws-lite'].map((name, i) => ({
      id: ['full', 'lite'][i],
      file: join(ROOT, `zoo/models/${name}.onnx`),
    })),
    golden: { audio: join(ROOT, 'zoo/bank/keyword/go'), count: 2, tolerance: 0.05 },
    card: join(ROOT, 'zoo/cards/kws-1.json'),
  }
  const path = join(dir, 'pack.json')
  writeFileSync(path, JSON.stringify(spec))
  return path
}

describe('a file that is there', () => {
  it.each([
    ['model pack -o', () => ['model', 'pack', packFile(), '-o', out]],
    ['patch make -o', () => ['patch', 'make', '--full', KWS_1, '-o', out]],
    ['story --json', () => ['story', '--json', out]],
  ])('is not replaced by %s, and the way out is named', async (_, args) => {
    const ended = await kinglet(...args())
    expectRefusal(ended, 1, /out: there is such a file already/)
    expect(ended.stderr).toMatch(/--force replaces it/)
    expect(readFileSync(out, 'utf8')).toBe(OLD)
    expect(readdirSync(dir).filter((name) => name.startsWith('out.'))).toEqual([])
  })

  it.each([
    ['token make', () => ['token', 'make', '--role', 'viewer', '-o', out, ...nowhere]],
    ['device claim', () => ['device', 'claim', '--site', 'lab', '--board', 'NUCLEO-U575ZI', '-o', out, ...nowhere]],
  ])('is never replaced by %s, which asks the cloud for no secret that it could not keep', async (_, args) => {
    expectRefusal(await kinglet(...args()), 1, /out exists; a secret is never overwritten/)
    expectRefusal(await kinglet(...args(), '--force'), 2, /unknown option '--force'/)
    expect(readFileSync(out, 'utf8')).toBe(OLD)
  })

  it('is replaced by model pack --force, as a whole', async () => {
    const ended = await kinglet('model', 'pack', packFile(), '-o', out, '--force', '--json')
    expect(ended.code, ended.stderr).toBe(0)
    expect(readFileSync(out)).toHaveLength((JSON.parse(ended.stdout) as { bytes: number }).bytes)
  })
})
