import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { encodeWav } from '../../../model/audio/wav.ts'
import { createMicroFrontend } from '../../../model/features/micro-frontend.ts'
import { microFrontendDefinition } from '../../../model/features/micro-frontend-definition.ts'
import { referenceSignal } from '../../unit/model/features/reference-signal.ts'
import { kinglet } from './cli-process.ts'

const folder = mkdtempSync(join(tmpdir(), 'kinglet-features-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const wavOf = (name: string, samples: Float32Array, rateHz = 16_000): string => {
  const path = join(folder, name)
  writeFileSync(path, encodeWav(samples, rateHz))
  return path
}
const features = (...args: string[]) => kinglet('model', 'features', ...args)

describe('kinglet model features', () => {
  const sound = referenceSignal(8_000)
  const file = wavOf('sound.wav', sound)

  it('prints the integers of the micro frontend, a line a frame', async () => {
    const { code, stdout } = await features('--front-end', 'micro', '--step-ms', '20', file)
    const stream = createMicroFrontend({ ...microFrontendDefinition, stepMs: 20 })
    const frame = new Uint16Array(40)
    let expected = ''
    for (let at = 0; at < sound.length; ) {
      at += stream.push(sound, at)
      if (!stream.frameReady()) continue
      stream.takeFrame(frame)
      expected += `${frame.join(' ')}\n`
    }
    expect(code).toBe(0)
    expect(stdout).toBe(expected)
  })

  it.each([
    ['log-mel', 48, 40],
    ['mfcc', 49, 10],
  ])('prints %s', async (name, frames, values) => {
    const { code, stdout } = await features('--front-end', name, file)
    expect(code).toBe(0)
    const lines = stdout.trimEnd().split('\n')
    expect([lines.length, lines[0]?.split(' ').length]).toEqual([frames, values])
    expect(
      lines
        .join(' ')
        .split(' ')
        .every((value) => Number.isFinite(Number(value))),
    ).toBe(true)
  })

  it('says that another rate was resampled', async () => {
    const { code, stdout, stderr } = await features(wavOf('slow.wav', sound, 8_000))
    expect([code, stdout.trimEnd().split('\n').length]).toEqual([0, 98])
    expect(stderr).toContain('resampled from 8000 Hz to 16000 Hz')
  })

  it.each<[number, string, ...string[]]>([
    [1, 'no such file', 'nowhere.wav'],
    [1, 'are no frame', wavOf('short.wav', sound.subarray(0, 479))],
    [2, 'steps of 496 samples', '--step-ms', '31', file],
    [2, 'longer than a frame', '--front-end', 'log-mel', '--step-ms', '31', file],
    [2, 'steps by 20 ms', '--front-end', 'mfcc', '--step-ms', '10', file],
    [2, 'Allowed choices', '--front-end', 'fft', file],
  ])('refuses with code %i: %s', async (code, words, ...args) => {
    const result = await features(...args)
    expect([result.code, result.stdout]).toEqual([code, ''])
    expect(result.stderr).toContain(words)
  })
})
