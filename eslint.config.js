// What biome cannot see: rules that need types, and the rules of the pure parts. Everything else is biome's (biome.json).
import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

/** Where CONTRIBUTING.md allows no clock, chance, timer, environment or platform. What is a name of Node or of a page alone does not exist
 *  there by their tsconfig.json; here is forbidden what ECMAScript itself has. */
const PURE = ['contract/**/*.ts', 'model/**/*.ts', 'device/core/**/*.ts', 'device/ports/**/*.ts', 'release/**/*.ts']
const NOT_PURE = ['model/engine/engine-ort-*.ts']

/** Where `numbers[i]!` is allowed: the index is computed, the loop or the line above bounds it, and a check for each access would be the
 *  larger part of the code and of its time. Any other `!` is a claim nobody has checked, there too. */
const INDEXED = [
  // Codecs: adaptive bits, tables of prices and suffixes at places that arithmetic gives.
  'contract/patch/*.ts',
  'release/patch/*.ts',
  'cli/patch/bunzip2.ts',
  // Axes of shapes, chosen by rank, which the operator's arity and the loop over dims bound.
  'model/onnx/onnx-shapes-*.ts',
  'model/onnx/onnx-scope.ts',
  'model/plan/*.ts',
  // Factors of the channels of one operator, as many as it has.
  'model/engine-tiny/kernels/channels.ts',
  // Columns of a device's hours, as many and as long as the constructor makes them.
  'cloud/rollout/device-hours.ts',
  // Signals: samples, filters and windows, whose lengths are those of the arrays made just above.
  'model/audio/*.ts',
  'model/features/*.ts',
  'model/engine/window-codec.ts',
  'model/pipeline/chain.ts',
  'model/pipeline/anomaly-score.ts',
  'device/core/listen/*.ts',
  'firmware-sim/scene.ts',
  'firmware-sim/bearing.ts',
  'firmware-sim/hearing.ts',
  // A heap, and a flash of bytes.
  'firmware-sim/clock-virtual.ts',
  'firmware-sim/flash-nor.ts',
  // Sums and histograms over columns of fixed number.
  'gateway/store/aggregation.ts',
  'gateway/store/report-timeline.ts',
  'gateway/store/seq-ranges.ts',
  'gateway/store/device-table.ts',
  'gateway/metrics.ts',
  'cloud/rollout/first-event.ts',
  'cloud/rollout/log-ratio.ts',
  'cloud/rollout/special-functions.ts',
  // Bytes of a wire, whose lengths are checked once and not at each of them.
  'gateway/store/message-batch.ts',
  'gateway/store/report-decoder.ts',
  'gateway/broker/packet-bound.ts',
]
/** In a test or a script that somebody runs and watches, what is missing stops the run, which is all that a check would do. */
const WATCHED = ['test/**/*.ts', 'zoo/**/*.ts', 'bench/**/*.ts']

const CLOCK = 'Time is an argument, or comes from contract/clock.ts.'
const CHANCE = 'Chance is an argument, or comes from contract/random.ts.'
const NOW = [
  { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: CLOCK },
  { selector: "CallExpression[callee.name='Date']", message: CLOCK },
]
const PURE_SYNTAX = [
  {
    selector: ':matches(Program, ExportNamedDeclaration) > VariableDeclaration[kind=/let|var/]',
    message: 'A module holds no state: two devices in one process would share it.',
  },
  {
    // But a `unique symbol`, which is a type and no value.
    selector: 'VariableDeclaration[declare=true]:not(:has(TSTypeOperator)), TSDeclareFunction[declare=true]',
    message: 'What the platform provides is declared once, with a reason, in portable.d.ts.',
  },
]
const CLAIM = {
  selector: 'TSNonNullExpression:not([expression.computed=true])',
  message: 'Nobody has checked that it is there: check it, or say with contract/present.ts what would be missing.',
}
const INDEX = {
  selector: 'TSNonNullExpression[expression.computed=true]',
  message: 'Iterate, destructure and check, or add the file to INDEXED of eslint.config.js with a reason.',
}

/** Files that match both. */
const both = (some, others) => some.flatMap((one) => others.map((other) => [one, other]))
const syntax = (files, ...rules) => ({
  files,
  ignores: WATCHED,
  rules: { 'no-restricted-syntax': ['error', ...rules] },
})

export default defineConfig(
  // wasm is AssemblyScript, which has a compiler of its own.
  { ignores: ['dist', 'zoo/work', 'model/*/wasm', '**/*.d.ts'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.ts'],
    plugins: { ts: tseslint.plugin },
    // One program for all: with `projectService` each pure folder is a program more, and a third of the time.
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      'ts/no-floating-promises': 'error',
      'ts/no-misused-promises': 'error',
      'ts/await-thenable': 'error',
      'ts/switch-exhaustiveness-check': 'error',
      'ts/no-unnecessary-type-assertion': 'error',
    },
  },
  {
    files: ['**/*.ts'],
    // Tests read answers of servers as whatever JSON they are and then assert what is in them: 166 places, none of which a type would catch.
    ignores: ['test/**'],
    rules: {
      'ts/no-unsafe-assignment': 'error',
      'ts/no-unsafe-member-access': 'error',
      'ts/no-unsafe-call': 'error',
      'ts/no-unsafe-return': 'error',
      'ts/no-unsafe-argument': 'error',
    },
  },
  {
    files: ['device/browser/**/*.ts'],
    languageOptions: {
      parserOptions: { project: './device/browser/tsconfig.json', tsconfigRootDir: import.meta.dirname },
    },
  },
  // The last that matches counts, so these go from the general to the particular.
  syntax(['**/*.ts'], CLAIM, INDEX, ...NOW),
  syntax(INDEXED, CLAIM, ...NOW),
  syntax(PURE, CLAIM, INDEX, ...NOW, ...PURE_SYNTAX),
  syntax(both(PURE, INDEXED), CLAIM, ...NOW, ...PURE_SYNTAX),
  { files: NOT_PURE, rules: { 'no-restricted-syntax': ['error', CLAIM, INDEX, ...NOW] } },
  {
    files: ['**/*.ts'],
    // The clock of each runtime is one file; whoever runs a process, or a page, passes it on.
    ignores: [...WATCHED, 'cli/clock-system.ts', 'device/browser/clock-page.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: CLOCK },
        { object: 'Math', property: 'random', message: CHANCE },
      ],
    },
  },
)
