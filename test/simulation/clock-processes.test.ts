import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { ClockMaster } from '../../firmware-sim/clock-shared.ts'
import { realClock } from './real-clock.ts'

const dist = pathToFileURL(join(import.meta.dirname, '../../dist/')).href
const dir = mkdtempSync(join(tmpdir(), 'kinglet-clock-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** Reads the clock again and again for `forMs`, and says each reading beside the real time it was taken at. */
const READER = `
import { SharedClock } from '${dist}firmware-sim/clock-shared.js'
import { systemClock } from '${dist}cli/clock-system.js'
const [, path, forMs] = process.argv
const clock = new SharedClock(path, systemClock)
const readings = []
const end = Date.now() + Number(forMs)
const read = () => {
  const before = Date.now()
  readings.push([before, clock.wallMs(), Date.now()])
  if (Date.now() < end) setTimeout(read, 3)
  else console.log(JSON.stringify(readings))
}
read()
`
type Reading = readonly [beforeMs: number, virtualMs: number, afterMs: number]

async function reader(path: string, forMs: number): Promise<readonly Reading[]> {
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '-e', READER, path, String(forMs)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout!.on('data', (data) => {
    text += data
  })
  await new Promise((resolve) => child.once('close', resolve))
  return JSON.parse(text) as Reading[]
}

describe('a clock that processes share', () => {
  it('says the same in both, forwards only, also while it is held back', async () => {
    const path = join(dir, 'clock')
    const scale = 1_000
    const startMs = Date.UTC(2026, 0, 5)
    const master = new ClockMaster(path, realClock, startMs, scale)
    const holds = setInterval(() => master.holdAt(master.nowMs() - 20 * scale), 100)
    const both = await Promise.all([reader(path, 900), reader(path, 900)])
    clearInterval(holds)
    const end = master.nowMs()
    master.close()
    for (const readings of both) {
      expect(readings.length).toBeGreaterThan(50)
      for (const [i, [, virtualMs]] of readings.entries()) {
        expect(virtualMs).toBeGreaterThanOrEqual(readings[i - 1]?.[1] ?? startMs)
        expect(virtualMs).toBeLessThanOrEqual(end + 20 * scale)
      }
      // Held back by a fifth of the time, so it cannot have run at full speed.
      const [first, last] = [readings[0]!, readings.at(-1)!]
      expect((last[1] - first[1]) / (last[0] - first[2])).toBeLessThan(0.95 * scale)
    }
    // At the same real time both say the same, but for the 20 ms of a hold that one has seen and the other not yet.
    const [one, two] = both
    let compared = 0
    for (const [before, virtualMs, after] of one) {
      const near = two.find(([b, , a]) => Math.abs(b - before) <= 1 && Math.abs(a - after) <= 1)
      if (near === undefined) continue
      compared++
      expect(Math.abs(near[1] - virtualMs)).toBeLessThanOrEqual((2 + 20) * scale)
    }
    expect(compared).toBeGreaterThan(5)
  })
})
