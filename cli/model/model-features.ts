import { createLogMel } from '../../model/features/log-mel.ts'
import { logMelDefinition } from '../../model/features/log-mel-definition.ts'
import { createMfcc } from '../../model/features/mfcc.ts'
import { mfccDefinitionV1 } from '../../model/features/mfcc-definition.ts'
import { createMicroFrontend } from '../../model/features/micro-frontend.ts'
import {
  checkMicroFrontendDefinition,
  microFrontendDefinition,
} from '../../model/features/micro-frontend-definition.ts'
import { readAudio } from '../audio-files.ts'
import { CommandFailure } from '../failure.ts'
import { FRONT_ENDS, type FrontEnd } from './front-ends.ts'

/** A front end that is pulled frame by frame. */
interface FrameStream<Frame> {
  push(samples: Float32Array, from: number): number
  frameReady(): boolean
  takeFrame(out: Frame): void
}

const RATE_HZ = 16_000

/** Frames of a WAV file, a line each, as the front ends of networks compute them.
 *  @param stepMs from one frame to the next; undefined: the front end's own
 *  @returns lines, and what people should know of the file
 *  @throws CommandFailure for a file that cannot be read, or is shorter than a frame */
export function featuresOf(
  path: string,
  frontEnd: FrontEnd,
  stepMs: number | undefined,
): { readonly lines: readonly string[]; readonly notes: readonly string[] } {
  const audio = readAudio(path, RATE_HZ)
  if ('refusal' in audio) throw new CommandFailure(`${path}: ${audio.refusal}`)
  const { samples, notes } = audio
  if (frontEnd === 'mfcc') {
    if (stepMs !== undefined) {
      throw new CommandFailure('--step-ms: the MFCC of MLPerf Tiny steps by 20 ms and by nothing else', {
        exitCode: 2,
        hint: `--step-ms goes with --front-end ${FRONT_ENDS.filter((name) => name !== 'mfcc').join(' or ')}`,
      })
    }
    return { lines: mfccLines(samples), notes }
  }
  const lines = frontEnd === 'micro' ? microLines(samples, stepMs) : logMelLines(samples, stepMs)
  if (lines.length > 0) return { lines, notes }
  throw new CommandFailure(`${path}: ${((1000 * samples.length) / RATE_HZ).toFixed(1)} ms of sound are no frame`, {
    hint: 'a frame is made of 30 ms',
  })
}

function microLines(samples: Float32Array, stepMs = microFrontendDefinition.stepMs): string[] {
  const definition = checkMicroFrontendDefinition({ ...microFrontendDefinition, stepMs })
  if (!definition.ok) throw new CommandFailure(`--step-ms: ${definition.error.detail}`, { exitCode: 2 })
  const { channels } = definition.value
  return linesOf(createMicroFrontend(definition.value), samples, new Uint16Array(channels))
}

function logMelLines(samples: Float32Array, stepMs: number | undefined): string[] {
  const { strideSamples, windowSamples, melBands } = logMelDefinition
  const stride = stepMs === undefined ? strideSamples : (stepMs * RATE_HZ) / 1000
  if (stride > windowSamples) {
    const windowMs = (1000 * windowSamples) / RATE_HZ
    throw new CommandFailure(`--step-ms: ${stepMs} is longer than a frame's ${windowMs} ms`, { exitCode: 2 })
  }
  const stream = createLogMel({ ...logMelDefinition, strideSamples: stride })
  return linesOf(stream, samples, new Float32Array(melBands))
}

function linesOf<Frame extends Uint16Array | Float32Array>(
  stream: FrameStream<Frame>,
  samples: Float32Array,
  frame: Frame,
): string[] {
  const lines: string[] = []
  for (let at = 0; at < samples.length; ) {
    at += stream.push(samples, at)
    if (!stream.frameReady()) continue
    stream.takeFrame(frame)
    lines.push(frame.join(' '))
  }
  return lines
}

/** Frames of windows that follow each other, since each window is normalised by itself; the last one ends in silence. */
function mfccLines(samples: Float32Array): string[] {
  const { clipSamples, frames, coefficients } = mfccDefinitionV1
  const mfcc = createMfcc(mfccDefinitionV1)
  const clip = new Float32Array(clipSamples)
  const features = new Float32Array(frames * coefficients)
  const lines: string[] = []
  for (let from = 0; from < samples.length; from += clipSamples) {
    clip.fill(0)
    clip.set(samples.subarray(from, from + clipSamples))
    mfcc(clip, features)
    for (let at = 0; at < features.length; at += coefficients) {
      lines.push(features.subarray(at, at + coefficients).join(' '))
    }
  }
  return lines
}
