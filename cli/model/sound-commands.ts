import { Command, Option } from 'commander'
import { integerOption, numberOption } from '../number-option.ts'
import type { CurveOptions } from './curve-files.ts'
import { FRONT_ENDS, type FrontEnd } from './front-ends.ts'

/** `kinglet model features` */
export const featuresCommand = (): Command =>
  new Command('features')
    .description('print the features of a recording, a line of numbers a frame')
    .argument('<FILE>', 'WAV file; another rate is resampled to 16 kHz, and said so')
    .addOption(new Option('--front-end <NAME>', 'what computes them').choices(FRONT_ENDS).default('micro'))
    .option('--step-ms <N>', 'from one frame to the next (default: 10; mfcc: always 20)', integerOption(1, 1_000))
    .action(async (file: string, options: { readonly frontEnd: FrontEnd; readonly stepMs?: number }) => {
      const { featuresOf } = await import('./model-features.ts')
      const { lines, notes } = featuresOf(file, options.frontEnd, options.stepMs)
      for (const note of notes) console.error(`${file}: ${note}`)
      for (const line of lines) console.log(line)
    })

/** `kinglet model curve` */
export const curveCommand = (): Command =>
  new Command('curve')
    .description(
      'hear labelled recordings and say what each setting of the wake policy, or of an anomaly head, would miss and wake for',
    )
    .argument('<BUNDLE>', 'bundle file')
    .argument(
      '<DIR>',
      'DIR/<label>/*.wav with one word each; DIR/_negative, and labels that never wake, hold sound without a word; of an anomaly head DIR/anomaly and DIR/_negative, of vectors .csv, .jsonl or .f32',
    )
    .option('--level <LEVEL>', "ladder level (default: the bundle's first)")
    .option('--pipeline <ID>', 'one of several that hear words or score anomalies (default: the first)')
    .option('--max-false-per-hour <N>', 'rate that the proposed setting may have', numberOption(0.001, 10_000), 1)
    .option('--csv <FILE>', 'write a row for each setting')
    .option('--svg <FILE>', 'draw misses against false wakes')
    .option('--force', 'replace these files if there are such')
    .option('--json', 'print everything as JSON')
    .action(async (file: string, dir: string, flags: CurveOptions) => {
      const { drawCurve } = await import('./curve-files.ts')
      await drawCurve(file, dir, flags)
    })
