import { Command, Option } from 'commander'
import { BOARDS } from '../../model/boards.ts'

/** `kinglet model inspect` */
export const inspectCommand = (): Command =>
  new Command('inspect')
    .description(
      'say what is in a bundle, a TFLite or an ONNX file, and which engine runs it; a bundle is checked as a device would',
    )
    .argument('<FILE>', 'bundle, TFLite or ONNX file')
    .option('--json', 'print it as JSON; of a bundle with its manifest')
    .action(async (file: string, { json }: { json?: boolean }) => {
      const { inspectFile, inspectionJson, inspectionLines } = await import('./model-inspect.ts')
      const inspection = await inspectFile(file)
      console.log(json ? inspectionJson(inspection) : inspectionLines(inspection).join('\n'))
    })

interface PlanOptions {
  readonly board?: string
  readonly svg?: string
  readonly force?: boolean
  readonly json?: boolean
}

/** `kinglet model plan` */
export const planCommand = (): Command =>
  new Command('plan')
    .description('plan the memory of each graph and say what it costs; exit code 1 when it does not fit --board')
    .argument('<FILE>', 'bundle, TFLite or ONNX file')
    .addOption(
      new Option('--board <NAME>', 'board that it has to fit (default: all are listed)').choices(
        BOARDS.map(({ name }) => name),
      ),
    )
    .option('--svg <FILE>', 'draw the arena over time')
    .option('--force', 'replace the SVG file if there is one')
    .option('--json', 'print the plan as JSON')
    .action(async (file: string, { board, svg, force, json }: PlanOptions) => {
      const { drawPlan, planFile, planLines } = await import('./model-plan.ts')
      const report = planFile(file, board)
      if (svg !== undefined) drawPlan(report, svg, force === true)
      console.log(json ? JSON.stringify(report, null, 2) : planLines(report).join('\n'))
      if (report.verdict.fits === false) process.exitCode = 1
    })
