// What biome cannot see: rules that need types, and the rules of the pure parts. Everything else is biome's (biome.json).
import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

/** The parts of CONTRIBUTING.md's "no clock, chance, timer, environment or platform". What is a name of Node or of a page alone does not
 *  exist there by their tsconfig.json; here is what ECMAScript itself has. */
const PURE = ['contract/**/*.ts', 'model/**/*.ts', 'device/core/**/*.ts', 'device/ports/**/*.ts', 'release/**/*.ts']
const NOT_PURE = ['model/engine/engine-ort-*.ts']

const CLOCK = 'Time is an argument, or comes from contract/clock.ts.'
const CHANCE = 'Chance is an argument, or comes from contract/random.ts.'

export default defineConfig(
  // features/wasm is AssemblyScript, which has a compiler of its own.
  { ignores: ['dist', 'zoo/work', 'model/features/wasm', '**/*.d.ts'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.ts'],
    plugins: { ts: tseslint.plugin },
    languageOptions: { parser: tseslint.parser, parserOptions: { projectService: true } },
    rules: {
      'ts/no-floating-promises': 'error',
      'ts/no-misused-promises': 'error',
      'ts/await-thenable': 'error',
      'ts/switch-exhaustiveness-check': 'error',
      'ts/no-unnecessary-type-assertion': 'error',
      'ts/no-unsafe-assignment': 'error',
      'ts/no-unsafe-member-access': 'error',
      'ts/no-unsafe-call': 'error',
      'ts/no-unsafe-return': 'error',
      'ts/no-unsafe-argument': 'error',
      'ts/no-non-null-assertion': 'error',
    },
  },
  {
    files: PURE,
    ignores: NOT_PURE,
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: CLOCK },
        { object: 'Math', property: 'random', message: CHANCE },
      ],
      'no-restricted-syntax': [
        'error',
        { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: CLOCK },
        { selector: "CallExpression[callee.name='Date']", message: CLOCK },
        {
          selector: ':matches(Program, ExportNamedDeclaration) > VariableDeclaration[kind=/let|var/]',
          message: 'A module holds no state: two devices in one process would share it.',
        },
        {
          selector: 'VariableDeclaration[declare=true], TSDeclareFunction[declare=true]',
          message: 'What the platform provides is declared once, with a reason, in portable.d.ts.',
        },
      ],
    },
  },
)
