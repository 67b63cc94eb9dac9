// Writes the windows that zoo/train_bearing.py reads: <name>.f32, little-endian float32, BEARING_VALUES a window.
// Usage: bearing-windows.js --work DIR [--stretches N]
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { BEARING_VALUES, type Condition, stretchOf, windowsOf } from './bearing-material.ts'

const SECONDS = 2
const WEARS = [0.15, 0.25, 0.4, 0.6, 0.8, 1]

const { values } = parseArgs({ options: { work: { type: 'string' }, stretches: { type: 'string', default: '600' } } })
if (values.work === undefined) throw new Error('--work is needed')
const stretches = Number(values.stretches)
const directory = join(values.work, 'bearing')
mkdirSync(directory, { recursive: true })

/** @param from number of the first stretch
 *  @param running leave those out that stand, for a stretch of a worn bearing that stands is like any other */
function write(name: string, condition: Condition, wears: readonly number[], from: number, count: number): void {
  const windows: Float32Array[] = []
  for (let i = from; i < from + count; i++) {
    const wear = wears[i % wears.length]!
    const { samples, stands } = stretchOf('train', condition, wear, i, SECONDS)
    if (wear === 0 || !stands) windows.push(...windowsOf(samples))
  }
  const all = new Float32Array(BEARING_VALUES * windows.length)
  windows.forEach((window, i) => {
    all.set(window, BEARING_VALUES * i)
  })
  writeFileSync(join(directory, `${name}.f32`), all)
  console.log(`${name}: ${windows.length} windows`)
}

write('sound-calm', 'calm', [0], 0, stretches)
write('sound-raised', 'raised', [0], 0, stretches)
write('worn-calm', 'calm', WEARS, 0, stretches >> 1)
write('worn-raised', 'raised', WEARS, 0, stretches)
// What a careless retraining has: a minute of one floor.
write('sound-few', 'raised', [0], 100_000, 4)
