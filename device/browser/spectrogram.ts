import { createLogMel } from '../../model/features/log-mel.ts'
import { type LogMelDefinition, logMelDefinition } from '../../model/features/log-mel-definition.ts'

/** Chosen: fine enough for formants, few enough to be a pixel each on a telephone. */
export const BANDS = 48
/** Chosen: a frame every 20 ms, so that 12 s are 600 columns. */
const STRIDE_MS = 20
/** Of a mel band of a full-scale tone, ln of the power as this definition has it. Chosen by eye: darkest at a quiet room, brightest at a shout. */
const DARK = -9
const BRIGHT = 7

/** Columns of a spectrogram for the eye, of sound that never ends; no model hears them.
 *  @param rateHz of the sound
 *  @returns a function from the next stretch to the columns that are due: BANDS bytes each, lowest band first, 0 dark to 255 bright */
export function createSpectrogram(rateHz: number): (samples: Float32Array) => Uint8Array<ArrayBuffer> {
  const windowSamples = Math.round(rateHz * 0.032)
  const definition: LogMelDefinition = {
    ...logMelDefinition,
    sampleRateHz: rateHz,
    windowSamples,
    strideSamples: Math.round((rateHz * STRIDE_MS) / 1000),
    fftSize: 2 ** Math.ceil(Math.log2(windowSamples)),
    spectrum: 'power',
    melBands: BANDS,
    melLowHz: 60,
    melHighHz: rateHz / 2,
  }
  const mel = createLogMel(definition)
  const frame = new Float32Array(BANDS)
  return (samples) => {
    const columns: number[] = []
    for (let at = 0; at < samples.length; ) {
      at += mel.push(samples, at)
      if (!mel.frameReady()) continue
      mel.takeFrame(frame)
      for (const value of frame) {
        columns.push(Math.round(255 * Math.min(1, Math.max(0, (value - DARK) / (BRIGHT - DARK)))))
      }
    }
    return Uint8Array.from(columns)
  }
}
