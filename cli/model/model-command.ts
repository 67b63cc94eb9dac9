import { Command, Option } from 'commander'
import type { Clock } from '../../contract/clock.ts'
import type { Packed } from '../../model/pack.ts'
import { integerOption } from '../number-option.ts'
import { inspectCommand, planCommand } from './graph-commands.ts'
import { curveCommand, featuresCommand } from './sound-commands.ts'

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

interface PackOptions {
  readonly output: string
  readonly highPass?: boolean
  readonly force?: boolean
  readonly json?: boolean
}

interface ImportOptions {
  readonly output: string
  readonly name?: string
  readonly releaseVersion: number
  readonly board?: string
  readonly force?: boolean
  readonly json?: boolean
}

function tellPacked(path: string, { release, bundle, manifest }: Packed, json: boolean): void {
  if (json) {
    console.log(JSON.stringify(release))
    return
  }
  console.log(`${path}: ${release.name} ${release.version}, ${bundle.length} bytes`)
  console.log(`  sha256 ${release.sha256}`)
  for (const { id, arenaBytes, ramBytes, constantBytes, macs } of manifest.graphs) {
    console.log(`  graph ${id}: arena ${arenaBytes}, RAM ${ramBytes}, constants ${constantBytes} bytes, ${macs} MACs`)
  }
  console.log(`  boards ${manifest.boards.join(', ') || 'none'}`)
}

/** `kinglet model …` */
export function modelCommand(clock: Clock): Command {
  const model = new Command('model').description(
    'inspect and plan models; pack, import and score bundles, hear as they do',
  )

  model
    .command('pack')
    .description('pack graphs, features, policy, ladder and golden vectors into a bundle')
    .argument('<SPEC>', 'pack file (YAML or JSON), see docs/bundle.md')
    .requiredOption('-o, --output <FILE>', 'bundle file to write')
    .option('--high-pass', 'hear through a high-pass of 20 Hz, for microphones with an offset; older devices refuse it')
    .option('--force', 'replace the bundle file if there is one')
    .option('--json', 'print the release as JSON')
    .action(async (spec: string, options: PackOptions) => {
      const { packFile } = await import('./model-pack.ts')
      const { packed, notes } = await packFile(spec, options.output, {
        replaces: options.force === true,
        highPass: options.highPass === true,
      })
      for (const note of notes) console.error(note)
      tellPacked(options.output, packed, options.json === true)
    })

  model
    .command('init')
    .description(
      'write a commented pack file for a network: its ends and quantization, a guessed front end, boards that hold it',
    )
    .argument('<FILE>', 'network, TFLite or ONNX')
    .requiredOption('-o, --output <SPEC>', 'pack file (YAML) to write')
    .option('--force', 'replace the pack file if there is one')
    .action(async (file: string, options: { output: string; force?: boolean }) => {
      const { initPackFile } = await import('./model-init.ts')
      const open = initPackFile(file, options.output, options.force === true)
      console.log(
        `${options.output}: to be filled in: ${open.join(', ')}; then: kinglet model pack ${options.output} -o FILE`,
      )
    })

  model
    .command('import')
    .description('pack a microWakeWord network from its JSON manifest (version 1 or 2) alone')
    .argument('<MANIFEST>', 'JSON file; the network it names lies beside it')
    .requiredOption('-o, --output <FILE>', 'bundle file to write')
    .option('--name <NAME>', 'release name (default: the wake word in lower case with dashes)')
    .option(
      '--release-version <N>',
      'number of the release, rising within a family',
      integerOption(1, 1_000_000_000),
      1,
    )
    .option('--board <NAMES>', 'boards to pack it for, with commas between (default: all that can run it)')
    .option('--force', 'replace the bundle file if there is one')
    .option('--json', 'print the release as JSON')
    .action(async (manifest: string, options: ImportOptions) => {
      const { importMicroWakeWord } = await import('./model-import.ts')
      const packed = await importMicroWakeWord(manifest, options.output, {
        name: options.name,
        releaseVersion: options.releaseVersion,
        boards: options.board?.split(','),
        replaces: options.force === true,
      })
      tellPacked(options.output, packed, options.json === true)
    })

  model.addCommand(inspectCommand()).addCommand(planCommand())

  model
    .command('run')
    .description(
      'run a bare graph on vectors and compare every byte of its outputs; exit code 0 only when none differs',
    )
    .argument('<FILE>', 'graph, TFLite or ONNX')
    .addOption(
      new Option('--engine <ENGINE>', 'which runs it (default: tiny for TFLite, ort for ONNX)').choices([
        'tiny',
        'ort',
      ]),
    )
    .requiredOption(
      '--vectors <JSONL>',
      'a header line with the ends, then a line of hex inputs and outputs for each run',
    )
    .action(async (file: string, { engine, vectors }: { engine?: 'tiny' | 'ort'; vectors: string }) => {
      const { runVectors } = await import('./model-run.ts')
      const { runs, tensors, bytesDiffering, first } = await runVectors(file, vectors, engine)
      if (first !== null) console.error(first)
      console.log(`${runs} runs, ${tensors} tensors, ${bytesDiffering} bytes differ`)
      if (bytesDiffering > 0) process.exitCode = 1
    })

  model
    .command('eval')
    .description("score a bundle on labelled clips, or pictures, with the agent's own front end and engine")
    .argument('<BUNDLE>', 'bundle file')
    .argument('<DIR>', 'folder laid out as DIR/<label>/*.wav; of pictures .raw, .pgm or .ppm of their size')
    .option('--graph <ID>', "graph to score (default: the bundle's first)")
    .option('--json', 'print the result as JSON')
    .action(async (file: string, dir: string, options: { graph?: string; json?: boolean }) => {
      const progress = process.stderr.isTTY
        ? (done: number, total: number) => process.stderr.write(`\r${done} of ${total} clips`)
        : undefined
      const { evaluateBundle } = await import('./model-eval.ts')
      const { result, notes } = await evaluateBundle(file, dir, clock, options.graph, progress)
      if (progress) process.stderr.write('\r\x1b[K')
      for (const { file: path, reason } of result.skipped) console.error(`skipped ${path}: ${reason}`)
      for (const note of notes) console.error(note)
      if (options.json) {
        console.log(JSON.stringify(result))
        return
      }
      console.log(`accuracy ${percent(result.accuracy)} of ${result.clips} clips`)
      for (const [label, { clips, correct }] of Object.entries(result.perLabel)) {
        console.log(
          `  ${label.padEnd(10)} ${percent(clips === 0 ? 0 : correct / clips).padStart(8)}  ${correct}/${clips}`,
        )
      }
      console.log(
        `latency ${result.latencyMs.p50.toFixed(2)} ms p50, ${result.latencyMs.p99.toFixed(2)} ms p99 (features and network)`,
      )
    })
  model.addCommand(curveCommand())
  model.addCommand(featuresCommand())
  return model
}
