import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { ThermometerFile } from '../../../../device/node/thermometer-file.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-thermometer-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

it('reads thousandths of a degree, and says nothing where there is no number', () => {
  const file = join(dir, 'temp')
  const thermometer = new ThermometerFile(file)
  expect(thermometer.celsius()).toBeUndefined()
  for (const [text, celsius] of [
    ['48312\n', 48.312],
    ['-5000', -5],
    ['0\n', 0],
    ['', undefined],
    ['48.3', undefined],
    ['hot', undefined],
    ['99999999999', undefined],
  ] as const) {
    writeFileSync(file, text)
    expect(thermometer.celsius(), text).toBe(celsius)
  }
})
