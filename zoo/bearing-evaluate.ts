// Measures the bearing bundles on machines that no model has seen, through the shipping listener, at each level: alarms an hour of sound
// bearings with their interval, worn bearings found by wear, the area under the curve of both, and what the verifier says. Writes
// zoo/bundles/NAME.card.json and zoo/bearing.json. Usage: bearing-evaluate.js --zoo DIR --work DIR [--hours N] [--machines N]
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { poisson, wilson } from '../cli/model/intervals.ts'
import { packFile } from '../cli/model/model-pack.ts'
import type { LadderLevel } from '../contract/ladder-levels.ts'
import { seededRandom } from '../contract/random.ts'
import { createListener } from '../device/core/listen/listener.ts'
import { drawMachine, SENSOR, senseBearing } from '../firmware-sim/bearing.ts'
import { BEARING_SCENES, drawRunning } from '../firmware-sim/bearing-scene.ts'
import { EngineTiny } from '../model/engine-tiny/engine-tiny.ts'
import { type OpenedBundle, openBundle } from '../model/opened-bundle.ts'
import { judgeWake, type WakeFormat, wakeFormatsOf } from '../model/wake-judge.ts'
import { type OpenedVerifier, openVerifier } from '../model/wake-verifier.ts'
import { makePatch } from '../release/patch/make-patch.ts'
import { type Condition, highestMean, stretchOf } from './bearing-material.ts'

const NAMES = ['bearing-1', 'bearing-2', 'bearing-regressed']
const CONDITIONS: readonly Condition[] = ['calm', 'raised']
const WEARS = [0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1]
const SECONDS = 20
/** Chosen: windows of a sparse stretch, a third more than the mean is over. */
const SPARSE_WINDOWS = 43
const SPARSE_HOP = 250
const WINDOW_VECTORS = 128

interface Opened {
  readonly bundle: OpenedBundle
  readonly format: WakeFormat
}

/** What one stretch came to. */
interface Outcome {
  readonly alarms: number
  readonly confirmed: number
  readonly rejected: number
}

async function open(bytes: Uint8Array): Promise<Opened> {
  const opened = await openBundle(bytes, new EngineTiny(), Number.POSITIVE_INFINITY)
  const formats = wakeFormatsOf(bytes)
  if (!opened.ok || !formats.ok) throw new Error('the bundle does not open')
  return { bundle: opened.value, format: formats.value[0]! }
}

async function hear(
  { bundle, format }: Opened,
  level: LadderLevel,
  samples: Float32Array,
  verifier: OpenedVerifier,
): Promise<Outcome> {
  const step = bundle.manifest.ladder.find((one) => one.level === level)!
  const listener = createListener({ ...bundle, step })
  const heard = await listener.listen(samples)
  if (!heard.ok) throw new Error(heard.error.detail)
  let [confirmed, rejected] = [0, 0]
  for (const wake of heard.value.wakes) {
    const verdict = await judgeWake(wake, format, verifier, verifier.session.input.elements, async (features, q) => {
      const window = Float32Array.from(
        new Int8Array(features.buffer, features.byteOffset, features.length),
        (value) => q.scale * (value - q.zeroPoint),
      )
      const result = await verifier.session.run(window)
      return result.ok ? result.value : undefined
    })
    if (verdict === true) confirmed++
    if (verdict === false) rejected++
  }
  return { alarms: heard.value.wakes.length, confirmed, rejected }
}

/** A stretch as the sparse level senses it: between its windows nobody looks, so nothing is simulated there. */
function sparseStretch(condition: Condition, wear: number, index: number): Float32Array | undefined {
  const random = seededRandom(2).fork(`${condition} ${wear} ${index}`)
  const machine = drawMachine(random.fork('machine'))
  const running = drawRunning(BEARING_SCENES[index % BEARING_SCENES.length]![condition], wear, random.fork('running'))
  if (wear > 0 && running.shaftHz === 0) return undefined
  const samples = new Float32Array(SENSOR.channels * WINDOW_VECTORS * SPARSE_HOP * SPARSE_WINDOWS)
  for (let i = 0; i < SPARSE_WINDOWS; i++) {
    // The window stands at the end of its hop, but for the first.
    const sensed = senseBearing(machine, running, 2 * WINDOW_VECTORS, random.fork(`window ${i}`))
    samples.set(sensed.subarray(SENSOR.channels * WINDOW_VECTORS), SENSOR.channels * WINDOW_VECTORS * SPARSE_HOP * i)
  }
  return samples
}

interface Cell {
  readonly condition: Condition
  readonly level: LadderLevel
  readonly wear: number
  stretches: number
  withAlarm: number
  alarms: number
  hours: number
  confirmed: number
  rejected: number
  /** highest mean scores of its stretches, at the full level */
  readonly scores: number[]
}

/** Share of pairs of a sound and a worn machine in which the worn one has the higher score. */
function areaUnderCurve(sound: readonly number[], worn: readonly number[]): number {
  let above = 0
  for (const low of sound) for (const high of worn) above += high > low ? 1 : high === low ? 0.5 : 0
  return above / (sound.length * worn.length)
}

/** Measures models on the same machines, each of which is simulated once. @returns cells of each model */
async function measure(
  models: readonly Opened[],
  verifier: OpenedVerifier,
  hours: number,
  machines: number,
): Promise<readonly (readonly Cell[])[]> {
  const all = models.map((): Cell[] => [])
  for (const condition of CONDITIONS) {
    for (const wear of [0, ...WEARS]) {
      const rows = models.map((opened) => ({
        opened,
        session: [...opened.bundle.sessions.values()][0]!,
        cells: (['full', 'lite', 'sparse'] as const).map(
          (level): Cell => ({
            ...{ condition, level, wear, stretches: 0, withAlarm: 0, alarms: 0, hours: 0, confirmed: 0, rejected: 0 },
            scores: [],
          }),
        ),
      }))
      for (const [i, { cells }] of rows.entries()) all[i]!.push(...cells)
      const count = wear === 0 ? Math.ceil((hours * 3_600) / SECONDS) : machines
      for (let i = 0; i < count; i++) {
        const { samples, stands } = stretchOf('test', condition, wear, i, SECONDS)
        const rare = i % 4 === 0 ? sparseStretch(condition, wear, i) : undefined
        for (const { opened, session, cells } of rows) {
          const [full, lite, sparse] = cells
          if (wear === 0 || !stands) {
            await add(opened, verifier, full!, samples)
            await add(opened, verifier, lite!, samples)
            full!.scores.push(await highestMean(session, samples))
          }
          if (rare !== undefined) await add(opened, verifier, sparse!, rare)
        }
      }
    }
  }
  return all
}

async function add(opened: Opened, verifier: OpenedVerifier, cell: Cell, samples: Float32Array): Promise<void> {
  const { alarms, confirmed, rejected } = await hear(opened, cell.level, samples, verifier)
  cell.stretches++
  cell.alarms += alarms
  if (alarms > 0) cell.withAlarm++
  cell.hours += samples.length / SENSOR.channels / SENSOR.rateHz / 3_600
  cell.confirmed += confirmed
  cell.rejected += rejected
}

const rounded = (value: number): number => Number(value.toPrecision(3))
const interval = ({ low, high }: { low: number; high: number }) => ({ low: rounded(low), high: rounded(high) })
const cellFigures = (
  { condition, level, wear, stretches, withAlarm, alarms, hours, confirmed, rejected, scores }: Cell,
  sound: readonly number[],
) =>
  wear === 0
    ? {
        ...{ condition, level, wear, machines: stretches, hours: rounded(hours), alarms, confirmed, rejected },
        alarmsPerHour: rounded(alarms / hours),
        interval: interval({ low: poisson(alarms).low / hours, high: poisson(alarms).high / hours }),
      }
    : {
        ...{ condition, level, wear, machines: stretches, found: withAlarm, confirmed, rejected },
        share: rounded(withAlarm / stretches),
        interval: interval(wilson(withAlarm, stretches)),
        ...(level === 'full' && { areaUnderCurve: rounded(areaUnderCurve(sound, scores)) }),
      }

const { values } = parseArgs({
  options: {
    ...{ zoo: { type: 'string' }, work: { type: 'string' } },
    ...{ hours: { type: 'string', default: '2' }, machines: { type: 'string', default: '60' } },
  },
})
const { zoo, work } = values
if (zoo === undefined || work === undefined) throw new Error('--zoo and --work are needed')
const folder = join(zoo, 'bundles')
mkdirSync(join(work, 'bearing'), { recursive: true })
const pack = async (name: string): Promise<Uint8Array> => {
  const path = join(folder, `${name}.kinglet`)
  await packFile(join(folder, `${name}.pack.yaml`), path, { replaces: true, highPass: false })
  return readFileSync(path)
}
const verifierBytes = await pack('bearing-verifier')
const verifier = await openVerifier(verifierBytes, new EngineTiny())
if (!verifier.ok) throw new Error(verifier.error.detail)
const results: Record<string, unknown> = {}
const models: Opened[] = []
for (const name of NAMES) {
  // A bundle needs a card before it can be measured for one.
  writeFileSync(join(folder, `${name}.card.json`), '{}\n')
  models.push(await open(await pack(name)))
}
const { hours, machines } = values
const measured = await measure(models, verifier.value, Number(hours), Number(machines))
for (const [i, name] of NAMES.entries()) {
  const cells = measured[i]!
  const head = models[i]!.bundle.manifest.pipelines[0]!.head
  const soundOf = (condition: Condition) =>
    cells.find((cell) => cell.condition === condition && cell.wear === 0 && cell.level === 'full')?.scores ?? []
  const figures = cells.map((cell) => cellFigures(cell, soundOf(cell.condition)))
  results[name] = figures
  // Of the other levels the zoo's own file has the figures: a device does not carry them all.
  const carried = figures.filter(({ level }) => level === 'full')
  const threshold = head.kind === 'anomaly' ? head.threshold : 0
  const told = { name, threshold, simulated: true, hoursOfSound: Number(hours), machinesOfWear: Number(machines) }
  writeFileSync(join(folder, `${name}.card.json`), `${JSON.stringify({ ...told, measured: carried })}\n`)
  await pack(name)
  console.log(name, figures.map((cell) => JSON.stringify(cell)).join('\n'))
}
const [first, second] = ['bearing-1', 'bearing-2'].map((name) => readFileSync(join(folder, `${name}.kinglet`)))
const full = makePatch(null, second!, { version: 1 })
const patch = makePatch(first!, second!, { version: 1 })
const patches = { bundleBytes: second!.length, fullBytes: full.length, patchBytes: patch.length }
console.log(JSON.stringify(patches))
writeFileSync(join(zoo, 'bearing.json'), `${JSON.stringify({ patches, results }, null, 2)}\n`)
