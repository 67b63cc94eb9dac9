import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EngineOrtNode } from '../model/engine/engine-ort-node.ts'
import { createMfcc } from '../model/features/mfcc.ts'
import { mfccDefinitionV1 } from '../model/features/mfcc-definition.ts'
import { createMfccStream } from '../model/features/mfcc-stream.ts'
import { dequantizeFeatures, type Quantization, quantizeFeatures } from '../model/features/quantize.ts'
import { KEYWORDS, LABELS, type Label } from './labels.ts'

/** A trained network on the numbers a device would give it: float networks read the int8 features too, de-quantized. */
export type Network = { readonly probabilities: (features: Float32Array) => Promise<Float32Array> }

/** Opens a network in the agent's own engine.
 *  @param path an ONNX file with input `features` [1,1,49,10] (int8 or float32) and output `probabilities` [1,12]
 *  @param input the zoo's one input quantization
 *  @throws Error when the engine refuses the file or a run: here that is a bug of the training */
export const openNetwork = async (path: string, input: Quantization): Promise<Network> => {
  const loaded = await new EngineOrtNode().load(readFileSync(path))
  if (!loaded.ok) throw new Error(`${path}: ${loaded.error.detail}`)
  const session = loaded.value
  const quantized = new Int8Array(mfccDefinitionV1.frames * mfccDefinitionV1.coefficients)
  const plain = new Float32Array(quantized.length)
  const integer = session.input.elementType === 'int8'
  return {
    probabilities: async (features) => {
      quantizeFeatures(features, input, quantized)
      const result = await session.run(integer ? quantized : dequantizeFeatures(quantized, input, plain))
      if (!result.ok) throw new Error(`${path}: ${result.error.detail}`)
      return result.value
    },
  }
}

const mfcc = createMfcc(mfccDefinitionV1)

/** Class of one clip of a second. */
export const classify = async (network: Network, samples: Float32Array): Promise<Label> => {
  const out = await network.probabilities(mfcc(samples, new Float32Array(490)))
  return LABELS[out.indexOf(Math.max(...out))]!
}

/** When a stream wakes. */
export type WakePolicy = {
  readonly hopFrames: number
  /** Windows over which the posterior is averaged. */
  readonly smoothing: number
  readonly threshold: number
  readonly refractorySeconds: number
}

/** For networks that ship in no bundle of their own, and for choosing the bank's noises, which came before the bundles. */
export const WAKE_POLICY: WakePolicy = { hopFrames: 10, smoothing: 3, threshold: 0.75, refractorySeconds: 1 }

/** The policy a network ships with, from its pack file. kws-lite ships inside the others; it and the other retrainings of kws-1 are
 *  measured as kws-2's bundle wakes, so that their cards compare. */
export function wakePolicyOf(name: string, bundles: string): WakePolicy {
  const asSecond = name === 'kws-lite' || name.startsWith('kws-2-')
  const file = join(bundles, `${asSecond ? 'kws-2' : name}.pack.json`)
  if (!existsSync(file)) return WAKE_POLICY
  const { policy, ladder } = JSON.parse(readFileSync(file, 'utf8')) as PackFile
  return {
    hopFrames: ladder.find(({ level }) => level === (name === 'kws-lite' ? 'lite' : 'full'))!.hopFrames,
    smoothing: policy.smoothingWindows,
    threshold: policy.thresholdPermille / 1000,
    refractorySeconds: policy.refractoryMs / 1000,
  }
}

type PackFile = {
  readonly policy: {
    readonly smoothingWindows: number
    readonly thresholdPermille: number
    readonly refractoryMs: number
  }
  readonly ladder: readonly { readonly level: string; readonly hopFrames: number }[]
}

export type Wake = { readonly label: Label; readonly atSeconds: number; readonly posterior: number }

/** Runs a detector over a stretch of audio, as a plain measure beside the device's own.
 *  @param samples 16 kHz mono
 *  @returns wakes in order of time; `atSeconds` is the end of the window that decided */
export const detect = async (network: Network, samples: Float32Array, policy: WakePolicy): Promise<Wake[]> => {
  const stream = createMfccStream(mfccDefinitionV1, policy.hopFrames)
  const features = new Float32Array(mfccDefinitionV1.frames * mfccDefinitionV1.coefficients)
  const history: Float32Array[] = []
  const wakes: Wake[] = []
  let deafUntil = 0
  for (let at = 0; at < samples.length; ) {
    at += stream.push(samples, at)
    if (!stream.windowReady()) continue
    stream.takeWindow(features)
    history.push(Float32Array.from(await network.probabilities(features)))
    if (history.length > policy.smoothing) history.shift()
    const now = stream.samplesTaken() / mfccDefinitionV1.sampleRateHz
    if (history.length < policy.smoothing || now < deafUntil) continue
    let best: Wake = { label: 'silence', atSeconds: now, posterior: 0 }
    for (const label of KEYWORDS) {
      const index = LABELS.indexOf(label)
      const posterior = history.reduce((sum, p) => sum + p[index]!, 0) / history.length
      if (posterior > best.posterior) best = { label, atSeconds: now, posterior }
    }
    if (best.posterior < policy.threshold) continue
    wakes.push(best)
    deafUntil = now + policy.refractorySeconds
  }
  return wakes
}
