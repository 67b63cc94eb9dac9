import { LIMITS } from '../../../contract/limits.ts'
import { NOISE_BIN_EDGES, POSTERIOR_BIN_EDGES } from '../../../contract/messages.ts'
import type { MicrophoneTrouble } from './microphone.ts'

/** One wake or alarm as the listener found it. */
export interface HeardWake {
  /** index of the pipeline; omitted: the first */
  readonly pipeline?: number
  /** audio time from the start of the stretch to the end of the triggering window */
  readonly atMs: number
  /** index into the labels of the pipeline */
  readonly label: number
  /** of an alarm, whose score has no end: score / (score + threshold), so that 500 is the threshold */
  readonly posteriorPermille: number
  /** quantized window of the front end, int8 as bytes, frame-major; a single 0 where it is larger than a message can carry, which no
   *  verifier takes for a window */
  readonly features: Uint8Array
  /** level of the window's background, dBFS */
  readonly noiseDb: number
}

/** Inferences of windows that followed each other, each a hop after the last. */
export interface InferenceRun {
  /** audio time from the start of the stretch to the end of the first window */
  readonly fromMs: number
  readonly count: number
  /** ms from one to the next, and multiply-accumulates of one; omitted: those of the level */
  readonly hopMs?: number
  readonly macs?: number
}

/** What a pipeline that wakes nobody says after its newest window. */
export interface Reading {
  readonly pipeline: number
  /** best label of a classification; of a regression omitted */
  readonly label?: number
  /** its smoothed posterior, or the number */
  readonly value: number
}

/** What listening to a stretch of audio amounted to. Stretches add up, so a host may report every hop or every five minutes. */
export interface Heard {
  /** ms of audio that reached the detector */
  readonly listeningMs: number
  /** ms that passed, including the sleep between sparse windows */
  readonly elapsedMs: number
  readonly windows: number
  /** windows in which the voice-activity gate was open, whether or not the level gates on it */
  readonly openWindows: number
  readonly inferences: number
  /** when they ran, by audio time from the start of the stretch; omitted: evenly over it */
  readonly inferenceRuns?: readonly InferenceRun[]
  readonly gateOpenings: number
  readonly overruns: number
  readonly wakes: readonly HeardWake[]
  /** what the windows add to the bundle's signals, in the report's order; events are added by who admits them. Omitted: nothing */
  readonly signals?: readonly number[] | undefined
  /** newest of each pipeline that classifies or measures; omitted: none */
  readonly readings?: readonly Reading[] | undefined
  /** inferred windows by smoothed posterior, see POSTERIOR_BIN_EDGES */
  readonly posteriorBins: readonly number[]
  /** what says that the microphone is broken; omitted: nothing does */
  readonly microphone?: MicrophoneTrouble
  /** windows by background level, see NOISE_BIN_EDGES */
  readonly noiseBins: readonly number[]
  /** ms that the inferences took; undefined where nobody measures it (see ListenerOptions.clock) */
  readonly inferenceMs?: number | undefined
}

export const zeroBins = (): number[] => new Array<number>(LIMITS.histogramBins).fill(0)

export const addBins = (a: readonly number[], b: readonly number[]): number[] =>
  a.map((value, i) => value + (b[i] ?? 0))

const binOf = (value: number, edges: readonly number[]): number => {
  const index = edges.findIndex((edge) => value < edge)
  return index < 0 ? edges.length : index
}

export const posteriorBin = (permille: number): number => binOf(permille, POSTERIOR_BIN_EDGES)
export const noiseBin = (dbfs: number): number => binOf(dbfs, NOISE_BIN_EDGES)
