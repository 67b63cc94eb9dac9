import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { gateCommand } from '../../../../cli/release/gate-command.ts'
import type { ReadingWithInput } from '../../../../cloud/store/reading-store.ts'
import { present } from '../../../../contract/present.ts'
import type { Signal } from '../../../../contract/signals.ts'
import { CloudWorld } from '../../../fixtures/cloud-world.ts'

const COUNT: Signal = { kind: 'count', name: 'alarms', unit: 'alarms', harm: 'higher', per: 'hour' }

describe('kinglet gate eval FILE', () => {
  const dir = mkdtempSync(join(tmpdir(), 'kinglet-gate-'))
  const file = join(dir, 'reading.json')
  let kept: ReadingWithInput
  beforeAll(() => {
    const usual = { falseWakes: 0.5, verified: 1, numbers: [1] }
    const world = new CloudWorld(':memory:', 3, { 'kws-1': usual, 'kws-2': { ...usual, numbers: [3] } })
    const signals = [{ id: 'hum', signals: [COUNT] }]
    world.addRelease('kws-1', 1, 'production', {}, signals)
    world.addRelease('kws-2', 2, 'staging', {}, signals)
    world.enrol(100, 'board-a')
    world.enrol(100, 'board-b')
    world.hours(6)
    const started = world.start('kws-2', [50, 100])
    if (!started.ok) throw new Error(started.error.detail)
    world.hours(8)
    kept = present(world.store.readings.get(started.value.id), 'a reading')
    world.store.close()
  })
  afterAll(() => rmSync(dir, { recursive: true }))
  afterEach(() => {
    vi.restoreAllMocks()
  })
  const evaluate = async (content: unknown, ...flags: string[]): Promise<string> => {
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
    const log = vi.spyOn(console, 'log').mockImplementation(() => undefined)
    await gateCommand()
      .exitOverride()
      .parseAsync(['eval', file, ...flags], { from: 'user' })
    const printed = log.mock.calls.map(([line]) => String(line)).join('\n')
    log.mockRestore()
    return printed
  }

  it('computes a verdict again, with slices and what the bundle declares, without a cloud', async () => {
    const metric = kept.reading.metrics.find(({ name }) => name === 'hum/alarms')
    expect(metric?.ratio).toBeGreaterThan(2)
    expect(kept.reading.slices?.map(({ value }) => value)).toEqual(['board-a', 'board-b'])
    expect(await evaluate(kept)).toMatch(/^\d{4}-.*Z {2}Hold: too early/)
    // What it prints is what it reads, however the fields are ordered.
    const printed = JSON.parse(await evaluate(kept, '--json')) as ReadingWithInput
    expect(printed.reading).toEqual(kept.reading)
    expect(await evaluate(printed)).toContain('Hold')
  })

  it('says where what was kept is not what comes out', async () => {
    const other = structuredClone(kept) as unknown as { reading: { metrics: { slices: { logE: number }[] }[] } }
    present(other.reading.metrics[0]?.slices[1], 'a slice').logE += 1
    await expect(evaluate(other)).rejects.toThrow(/what was kept says otherwise: Hold/)
    const moved = structuredClone(kept) as unknown as { input: { slices: { weight: number }[] } }
    present(moved.input.slices[0], 'a slice').weight = 0.05
    await expect(evaluate(moved)).rejects.toThrow(/says otherwise/)
  })

  it.each([
    ['{', /reading\.json: not JSON/],
    ['[]', /reading\.json: no reading of a gate/],
    ['{"atMs": 1}', /no reading of a gate: policy: /],
  ])('refuses %s', async (content, cause) => {
    await expect(evaluate(content)).rejects.toThrow(cause)
  })

  it('refuses numbers that are none of a gate, and says where they stand', async () => {
    const broken = structuredClone(kept) as unknown as { input: { installs: { started: number } } }
    broken.input.installs.started = -1
    await expect(evaluate(broken)).rejects.toThrow(/no reading of a gate: input\.installs\.started: /)
  })

  it('needs a cloud for what is no file', async () => {
    const nowhere = gateCommand()
      .exitOverride()
      .parseAsync(['eval', join(dir, 'none')], { from: 'user' })
    await expect(nowhere).rejects.toThrow(/there is no file .*none, and a rollout needs --cloud and --token-file/)
  })
})
