import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openFlash } from '../../../cli/device/device-flash.ts'
import { encodeWav } from '../../../model/audio/wav.ts'
import { boardNamed } from '../../../model/boards.ts'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import { packBundle } from '../../../model/pack.ts'
import { utterances } from '../../fixtures/audio.ts'
import { packInput } from '../../fixtures/bundles.ts'
import { expectRefusal, kinglet, ROOT } from './cli-process.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-board-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const path = (name: string) => join(dir, name)
const yes = join(ROOT, 'zoo/bank/keyword/yes')

beforeAll(async () => {
  for (const [name, boards] of [
    ['one.kinglet', ['ESP32-S3']],
    ['any.kinglet', []],
  ] as const) {
    const packed = await packBundle(packInput({ change: { boards: [...boards] } }), new EngineOrtNode())
    if (!packed.ok) throw new Error(packed.error.detail)
    writeFileSync(path(name), packed.value.bundle)
  }
})

describe('device run --board', () => {
  const audio = join(yes, readdirSync(yes).sort()[0]!)
  const onAudio = (bundle: string, board: string) =>
    kinglet('device', 'run', '--audio', audio, '--bundle', path(bundle), '--board', board, '--json')

  it('refuses a bundle that does not list the board', async () => {
    expectRefusal(
      await onAudio('one.kinglet', 'NUCLEO-U575ZI'),
      1,
      /one\.kinglet: wrong-board: it is not packed for NUCLEO-U575ZI/,
    )
  })

  it('makes no flash of it either', async () => {
    const board = boardNamed('NDP9120')!
    await expect(openFlash(path('flash'), board, path('one.kinglet'))).rejects.toThrow(
      /wrong-board: it is not packed for NDP9120/,
    )
    expect(existsSync(path('flash'))).toBe(false)
    const flash = await openFlash(path('flash'), board, path('any.kinglet'))
    flash.close()
  })

  it('takes one that does, and one that names none', async () => {
    for (const [bundle, board] of [
      ['one.kinglet', 'ESP32-S3'],
      ['any.kinglet', 'NUCLEO-U575ZI'],
    ] as const) {
      const { code, stderr } = await onAudio(bundle, board)
      expect(code, stderr).toBe(0)
    }
  })
})

describe('energy of device run', () => {
  it('is awake for holds that overlap once, pays for them, and says what is an estimate', async () => {
    // A keyword each second: every wake holds the device for five, and the next comes before that is over.
    const words = utterances('yes').slice(0, 6)
    const stream = new Float32Array(30 * 16_000)
    for (let second = 0; second < 24; second++) stream.set(words[second % 6]!.subarray(0, 16_000), second * 16_000)
    writeFileSync(path('stream.wav'), encodeWav(stream, 16_000))
    const run = ['device', 'run', '--audio', path('stream.wav'), '--board', 'NUCLEO-U575ZI', '--json']
    const { code, stdout, stderr } = await kinglet(...run)
    expect(code, stderr).toBe(0)
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    const summary = lines.at(-1)
    expect(summary.wakes).toBeGreaterThan(5)
    const wakesMs = lines.slice(0, -1).map(({ atMs }) => atMs as number)
    const heldMs = (toMs: number) =>
      wakesMs.reduce((sum, atMs, i) => sum + Math.min(5_000, (wakesMs[i + 1] ?? toMs) - atMs, toMs - atMs), 0)
    const audioMs = 30_000 + 1_400
    // At least the union of the holds, at most all of the time.
    expect(summary.activeFraction).toBeLessThanOrEqual(1)
    expect(summary.activeFraction).toBeGreaterThan((0.95 * heldMs(audioMs)) / audioMs)
    const { kwsMicrojoule, kwsMs, source } = boardNamed('NUCLEO-U575ZI')!
    const awakeMilliwatt = kwsMicrojoule / kwsMs
    expect(summary.energyMj.inference).toBeGreaterThan((heldMs(audioMs) / 1_000) * awakeMilliwatt * 0.95)
    expect(summary.estimates.energyMj).toContain(source)
  })
})
