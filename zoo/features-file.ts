import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { createMfcc } from '../model/features/mfcc.ts'
import { mfccDefinitionV1 } from '../model/features/mfcc-definition.ts'
import { LABELS, type Label } from './labels.ts'

/** Writes feature windows for the training: `<name>.f32` (little-endian float32, 490 a window) and `<name>.u8` (class). */
export type FeatureFile = {
  readonly add: (samples: Float32Array, label: Label) => void
  readonly close: () => number
}

/** Features come from the agent's own front end, so that training and field cannot differ. */
export const createFeatureFile = (directory: string, name: string): FeatureFile => {
  const mfcc = createMfcc(mfccDefinitionV1)
  const width = mfccDefinitionV1.frames * mfccDefinitionV1.coefficients
  const batch = new Float32Array(width * 256)
  const labels: number[] = []
  const file = openSync(join(directory, `${name}.f32`), 'w')
  let filled = 0
  const flush = () => {
    writeSync(file, new Uint8Array(batch.buffer, 0, filled * width * 4))
    filled = 0
  }
  return {
    add: (samples, label) => {
      mfcc(samples, batch.subarray(filled * width))
      filled += 1
      labels.push(LABELS.indexOf(label))
      if (filled === 256) flush()
    },
    close: () => {
      flush()
      closeSync(file)
      writeFileSync(join(directory, `${name}.u8`), Uint8Array.from(labels))
      return labels.length
    },
  }
}
