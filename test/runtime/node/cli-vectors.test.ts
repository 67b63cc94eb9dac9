import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '../../../contract/random.ts'
import { drawMachine, SENSOR, senseBearing } from '../../../firmware-sim/bearing.ts'
import { expectRefusal, kinglet, zooBundle } from './cli-process.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-vectors-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const path = (...parts: string[]) => join(dir, ...parts)
const SECONDS = 4

/** A recording of a machine, of which the seed says which. */
const recorded = (seed: number, wear: number): Float32Array => {
  const random = seededRandom(seed)
  const floor = { turningG: 0.003, strokesPerSecond: 0, strokeG: 0 }
  const running = { wear, load: 0.7, shaftHz: 25, floor }
  return senseBearing(drawMachine(random), running, SENSOR.rateHz * SECONDS, random)
}
const csvOf = (samples: Float32Array): string => {
  const lines = ['t,x,y,z']
  for (let i = 0; i < samples.length; i += 3) lines.push([i / 3, samples[i], samples[i + 1], samples[i + 2]].join(','))
  return `${lines.join('\n')}\n`
}
const linesOf = (samples: Float32Array): string => {
  const lines: string[] = []
  for (let i = 0; i < samples.length; i += 3) lines.push(JSON.stringify([...samples.subarray(i, i + 3)]))
  return lines.join('\n')
}
const run = (input: string, ...more: string[]) =>
  kinglet('device', 'run', '--bundle', zooBundle('bearing-1'), '--input', input, '--json', ...more)
const linesJson = (stdout: string) =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

beforeAll(() => {
  for (const folder of ['anomaly', '_negative']) mkdirSync(path('recorded', folder), { recursive: true })
  writeFileSync(path('recorded/anomaly/a.csv'), csvOf(recorded(1, 0.8)))
  writeFileSync(path('recorded/anomaly/b.jsonl'), linesOf(recorded(2, 0.8)))
  writeFileSync(path('recorded/_negative/c.f32'), new Uint8Array(recorded(3, 0).buffer))
  writeFileSync(path('recorded/_negative/d.csv'), 'x,y\n1,2\n')
})

describe('device run on vectors', () => {
  it('alarms on recordings of a worn bearing in each of the formats, and on none of a sound one', async () => {
    const { code, stdout, stderr } = await run(path('recorded'))
    expect(code, stderr).toBe(0)
    expect(stderr).toMatch(/skipped .*d\.csv: line 2: 2 numbers, a vector has 3/)
    const lines = linesJson(stdout)
    const alarms = lines.filter(({ type }) => type === 'wake')
    expect(alarms.map(({ label, file }) => [label, file])).toEqual([
      ['anomaly', path('recorded/anomaly/a.csv')],
      ['anomaly', path('recorded/anomaly/b.jsonl')],
    ])
    // The mean of 32 windows of 40 ms.
    expect(alarms[0].atMs).toBe(1_280)
    expect(lines.at(-1)).toMatchObject({
      ...{ type: 'summary', bundle: 'bearing-1', files: 3, skipped: 1, wakes: 2, expected: 2, found: 2 },
      ...{ inputMs: 3 * SECONDS * 1_000, windows: (3 * SECONDS * 1_000) / 40 },
    })
    expect(lines.at(-1).audioMs).toBeUndefined()
  })

  it('at a lighter level looks at fewer windows, and finds it a little later', async () => {
    const [full, lite] = await Promise.all([
      run('scene:pump:wear=0.9:30'),
      run('scene:pump:wear=0.9:30', '--level', 'lite'),
    ])
    const [one, other] = [full, lite].map(({ stdout }) => linesJson(stdout))
    expect(one!.at(-1)).toMatchObject({ windows: 750, inferences: 750 })
    expect(other!.at(-1)).toMatchObject({ windows: 150, inferences: 150 })
    expect(one!.at(-1).found).toBeGreaterThan(0)
    expect(other!.at(-1).found).toBe(one!.at(-1).found)
    expect(other!.at(-1).energyMj.inference).toBeLessThan(one!.at(-1).energyMj.inference)
  })

  it('a sound bearing in a scene alarms nowhere', async () => {
    const { code, stdout } = await kinglet(
      ...['device', 'run', '--bundle', zooBundle('bearing-1'), '--input', 'scene:pump:wear=0:60'],
    )
    expect(code).toBe(0)
    expect(stdout).toMatch(/^6 pieces, 60\.0 s of vectors: 0 alarms; 1500 inferences/)
  })

  it('refuses what it cannot use, with the way out', async () => {
    expectRefusal(await run('scene:office'), 2, /there is no scene "office" of vectors/)
    expectRefusal(await run('scene:pump:wear=2'), 2, /"scene:pump:wear=2" is no scene/)
    expectRefusal(await run(path('recorded/_negative/d.csv')), 1, /line 2: 2 numbers, a vector has 3/)
    mkdirSync(path('empty'))
    expectRefusal(await run(path('empty')), 1, /no recordings of vectors in this folder/)
    expectRefusal(await run(path('nowhere')), 1, /there is no such file or folder/)
    expectRefusal(await run('scene:pump', '--audio', 'scene:office'), 2, /--audio and --input are two inputs/)
    const words = ['device', 'run', '--bundle', zooBundle('kws-2'), '--input', 'scene:pump']
    expectRefusal(await kinglet(...words), 2, /there is no scene "pump"/)
  })
})

describe('model curve of an anomaly head', () => {
  it('hears recordings of vectors and proposes a threshold', async () => {
    const files = ['--csv', path('c.csv'), '--svg', path('c.svg')]
    const { code, stdout, stderr } = await kinglet(
      ...['model', 'curve', zooBundle('bearing-1'), path('recorded'), '--json', '--max-false-per-hour', '2', ...files],
    )
    expect(code, stderr).toBe(0)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ bundle: 'bearing-1', level: 'full', recordings: 2 })
    expect(report.own).toMatchObject({ misses: 0, falseAlarms: 0 })
    expect(report.proposal.misses).toBe(0)
    expect(readFileSync(path('c.csv'), 'utf8').trimEnd().split('\n')).toHaveLength(1 + report.points.length)
    expect(readFileSync(path('c.svg'), 'utf8')).toContain('false alarms an hour')
  })
})
