import { seededRandom } from '../contract/random.ts'
import { drawMachine, SENSOR, senseBearing } from '../firmware-sim/bearing.ts'
import { BEARING_SCENES, drawRunning, type Workload } from '../firmware-sim/bearing-scene.ts'
import type { EngineSession } from '../model/engine/engine.ts'
import { createFeatureStream } from '../model/features/feature-definition.ts'
import type { VectorWindowDefinition } from '../model/features/vector-windows.ts'

/** What the bearing models are trained on and measured with: stretches of the simulated sensor, each of a machine of its own. A share's machines
 *  are in no other. */
export type Share = 'train' | 'validation' | 'test'
export type Condition = 'calm' | 'raised'

/** The front end of the bearing bundles. Chosen by measurement, see zoo/README.md: each axis less its mean over its deviation, so that a louder
 *  machine is no anomaly; what is stiller than the floor of deviation is a machine that stands. */
export const BEARING_FEATURES: VectorWindowDefinition = {
  kind: 'vector-windows',
  version: 1,
  channels: SENSOR.channels,
  sampleRateHz: SENSOR.rateHz,
  windowVectors: 128,
  hopVectors: 128,
  normalization: 'mean-deviation',
  deviationFloor: 0.05,
}
export const BEARING_VALUES = BEARING_FEATURES.channels * BEARING_FEATURES.windowVectors
/** Of a normalised window, as the models read it and a wake carries it: up to 6.4 deviations. */
export const BEARING_QUANTIZATION = { scale: 0.05, zeroPoint: 0 } as const

export interface Stretch {
  readonly samples: Float32Array
  readonly stands: boolean
}

const workload = (condition: Condition, scene: number): Workload =>
  BEARING_SCENES[scene % BEARING_SCENES.length]![condition]

/** One stretch of a share, by its number: the same every time.
 *  @param wear 0: a sound bearing */
export function stretchOf(share: Share, condition: Condition, wear: number, index: number, seconds: number): Stretch {
  const random = seededRandom(1).fork(`${share} ${condition} ${wear} ${index}`)
  const machine = drawMachine(random.fork('machine'))
  const running = drawRunning(workload(condition, index), wear, random.fork('running'))
  return { samples: senseBearing(machine, running, SENSOR.rateHz * seconds, random), stands: running.shaftHz === 0 }
}

/** Windows of a stretch by the agent's own front end. */
export function windowsOf(samples: Float32Array): Float32Array[] {
  const stream = createFeatureStream(BEARING_FEATURES, 1)
  const windows: Float32Array[] = []
  for (let at = 0; at < samples.length; ) {
    at += stream.push(samples, at)
    if (!stream.windowReady()) continue
    const window = new Float32Array(BEARING_VALUES)
    stream.takeWindow(window)
    windows.push(window)
  }
  return windows
}

/** Windows of the mean that alarms, 1.3 s of them at the full level. */
export const BEARING_SMOOTHING = 32

/** Highest mean score in a stretch, as the anomaly head has it. */
export async function highestMean(session: EngineSession, samples: Float32Array): Promise<number> {
  const scores: number[] = []
  let most = 0
  for (const window of windowsOf(samples)) {
    const again = await session.run(window)
    if (!again.ok) throw new Error(again.error.detail)
    scores.push(window.reduce((sum, value, i) => sum + (value - again.value[i]!) ** 2, 0) / window.length)
    if (scores.length < BEARING_SMOOTHING) continue
    most = Math.max(most, scores.slice(-BEARING_SMOOTHING).reduce((a, b) => a + b, 0) / BEARING_SMOOTHING)
  }
  return most
}
