import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeWav } from '../../../model/audio/wav.ts'
import { sceneOf } from '../../fixtures/audio.ts'
import { expectRefusal, kinglet, ROOT, zooBundle } from './cli-process.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-curve-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const path = (...parts: string[]) => join(dir, ...parts)
const curve = (...args: string[]) => kinglet('model', 'curve', zooBundle('kws-2'), ...args)
const bank = join(ROOT, 'zoo/bank/keyword')

describe('kinglet model curve', () => {
  beforeAll(() => {
    for (const label of ['yes', 'no', 'stop']) {
      mkdirSync(path('sound', label), { recursive: true })
      for (const file of readdirSync(join(bank, label)).sort().slice(0, 4)) {
        cpSync(join(bank, label, file), path('sound', label, file))
      }
    }
    mkdirSync(path('sound', '_negative'))
    mkdirSync(path('sound', 'unknown'))
    writeFileSync(path('sound', '_negative', 'room.wav'), encodeWav(sceneOf(20, [], 0.01), 16_000))
    writeFileSync(path('sound', 'unknown', 'broken.wav'), 'no sound at all')
  })

  it('writes the curve as JSON, CSV and SVG, and proposes a policy', async () => {
    const files = ['--csv', path('c.csv'), '--svg', path('c.svg')]
    const { code, stdout, stderr } = await curve(path('sound'), '--json', '--max-false-per-hour', '2', ...files)
    expect(code, stderr).toBe(0)
    expect(stderr).toMatch(/skipped .*broken\.wav: wav-not-riff/)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ bundle: 'kws-2', level: 'full', words: 12, labels: ['no', 'stop', 'yes'] })
    expect(report.negativeHours).toBeCloseTo(20 / 3_600, 6)
    expect(report.own).toMatchObject({ smoothingWindows: 2, thresholdPermille: 680, words: 12 })
    // Said by espeak in a silent room: the network finds them, and nothing in noise.
    expect(report.own.misses).toBeLessThanOrEqual(3)
    expect(report.proposal.falsePerHour).toBeLessThanOrEqual(2)
    expect(report.proposal.misses).toBeLessThanOrEqual(report.own.misses)
    const own = report.points.find((p: typeof report.own) => p.smoothingWindows === 2 && p.thresholdPermille === 680)
    expect(report.own).toMatchObject(own)
    const strictest = report.points.filter((p: typeof own) => p.thresholdPermille === 980 && p.smoothingWindows === 8)
    expect(strictest[0].misses).toBeGreaterThan(report.proposal.misses)

    const rows = readFileSync(path('c.csv'), 'utf8').trimEnd().split('\n')
    expect(rows).toHaveLength(1 + report.points.length)
    expect(new Set(rows.map((row) => row.split(',').length))).toEqual(new Set([12]))
    const svg = readFileSync(path('c.svg'), 'utf8')
    expect(svg).toMatch(/^<svg [^>]*>[\s\S]*<\/svg>\n$/)
    expect(svg).not.toMatch(/NaN|Infinity|undefined/)
    expect(svg).toContain('kws-2 2 at full')
  })

  it('says it in a few lines, and what the sound is too short to show', async () => {
    const { code, stdout } = await curve(path('sound'), '--level', 'gated')
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /^kws-2 2 at gated: 12 recordings of 3 words, 0\.01 h without a word; 95 % intervals\n {2}as packed/,
    )
    expect(stdout).toMatch(/"smoothingWindows": \d, "thresholdPermille": \d+/)
    expect(stdout).toContain('not shown to be at most 1 an hour: that takes 3.69 h without a false wake')
  })

  it('refuses what it cannot use, with the way out', async () => {
    mkdirSync(path('words', 'yes'), { recursive: true })
    cpSync(path('sound', 'yes'), path('words', 'yes'), { recursive: true })
    expectRefusal(await curve(path('words')), 1, /no sound without words/)
    mkdirSync(path('words', 'hello'))
    cpSync(path('sound', '_negative', 'room.wav'), path('words', 'hello', 'a.wav'))
    expectRefusal(await curve(path('words')), 1, /folders hello are no labels of this model/)
    expectRefusal(await curve(path('nowhere')), 1, /there is no such file or folder/)
    expectRefusal(await curve(path('sound'), '--level', 'best'), 2, /has no ladder level "best"/)
    expectRefusal(await curve(path('sound'), '--max-false-per-hour', '0'), 2, /from 0\.001 to 10000/)
    expectRefusal(await curve(path('sound'), '--csv', path('c.csv')), 1, /there is such a file already/)
  })
})
