// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the source of other files

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ConcernedTests } from '../mutants/concerned-tests.ts'
import { LISTED_FAULTS, located } from '../mutants/listed-faults.ts'
import { mutated, mutationsOf } from '../mutants/mutations.ts'
import { filesOf, TrialCopy } from '../mutants/trial.ts'

const root = process.cwd()

describe('faults that are made on purpose', () => {
  const all = (source: string): string[] => mutationsOf('a.ts', source).map((mutant) => mutated(source, mutant))

  it.each([
    ['const a = b < c', ['const a = b <= c']],
    ['const a = b === c && d', ['const a = b === c || d', 'const a = b !== c && d']],
    ['if (a) return', [';']],
    [
      'if (!a) b()\nelse c()',
      ['if (!(!a)) b()\nelse c()', 'if (a) b()\nelse c()', 'if (!a) ;\nelse c()', 'if (!a) b()\nelse ;'],
    ],
    [
      'x = [0, 3, 60_000]',
      [';', 'x = [1, 3, 60_000]', 'x = [0, 4, 60_000]', 'x = [0, 2, 60_000]', 'x = [0, 3, 120000]'],
    ],
    ['const a = b ? c : d', ['const a = !(b) ? c : d']],
    ['const a = Math.min(b, c)', ['const a = Math.max(b, c)']],
    ['const a = true', ['const a = false']],
    [
      'const q = `SELECT 1 WHERE a < ${b} AND c`',
      ['const q = `SELECT 1 WHERE a <= ${b} AND c`', 'const q = `SELECT 1 WHERE a < ${b} OR c`'],
    ],
  ])('%s', (source, expected) => {
    expect(all(source)).toEqual(expected)
  })

  it.each([
    'type A = 1 | 2',
    "import a from 'b'",
    "const a = 'b' + c",
    "throw new Error('x' + 1)",
    'interface A { b: 3 }',
    "const a = 'b < c'",
  ])('none in %s', (source) => expect(all(source)).toEqual([]))
})

describe('the tests that concern a file', () => {
  const concerned = new ConcernedTests(root, filesOf(root))

  it('are its own first, then those of its room, then whoever loads it; whole processes apart', () => {
    const { cheap, dear } = concerned.of('cloud/store/telemetry-store.ts', 8)
    expect(cheap[0]).toMatch(/^test\/unit\/cloud\/store\//)
    expect(cheap.length).toBe(8)
    expect(dear.length).toBe(4)
    for (const test of dear) expect(test).toMatch(/^test\/(?:runtime|simulation)\//)
    expect(concerned.of('contract/topics.ts', 3).cheap[0]).toBe('test/unit/contract/topics.test.ts')
  })
})

it('every listed fault can be made: what it changes stands in its file once', () => {
  for (const fault of LISTED_FAULTS) {
    const source = readFileSync(join(root, fault.file), 'utf8')
    expect(mutated(source, located(fault, source))).not.toBe(source)
  }
  expect(new Set(LISTED_FAULTS.map(({ name }) => name)).size).toBe(LISTED_FAULTS.length)
})

describe('a trial', () => {
  const source =
    "import { argv } from 'node:process'\nexport const isOld = (age: number): boolean => age > 60 && age < 1_000\n" +
    'if (argv[1]?.endsWith("age.js")) process.stdout.write(String(isOld(Number(argv[2]))))\n'

  it('tells a fault that is noticed, missed, or noticed only by a test that fails anyway; the tree stays as it was', async () => {
    const tree = mkdtempSync(join(tmpdir(), 'kinglet-trial-'))
    onTestFinished(() => rmSync(tree, { recursive: true, force: true }))
    const write = (file: string, content: string) => {
      mkdirSync(dirname(join(tree, file)), { recursive: true })
      writeFileSync(join(tree, file), content)
    }
    const test = (words: string) =>
      `import { expect, it } from 'vitest'\nimport { isOld } from '../age.ts'\nit('is', () => { ${words} })\n`
    write('age.ts', source)
    write('test/age.test.ts', test('expect(isOld(60)).toBe(false); expect(isOld(61)).toBe(true)'))
    write('test/broken.test.ts', test('expect(isOld(5_000)).toBe(true)'))
    // A test of a process, which runs what was built.
    write(
      'test/process.test.ts',
      "import { execFileSync } from 'node:child_process'\nimport { expect, it } from 'vitest'\n" +
        "const said = (age: string) => execFileSync(process.execPath, ['dist/age.js', age], { encoding: 'utf8' })\n" +
        "it('is', () => { expect([said('60'), said('61')]).toEqual(['false', 'true']) })\n",
    )
    write('dist/age.js', 'throw new Error("not built yet")')
    for (const name of ['tsconfig.json', 'tsconfig.build.json']) {
      write(name, readFileSync(join(root, name), 'utf8'))
    }
    write('vitest.config.ts', readFileSync(join(root, 'vitest.config.ts'), 'utf8'))
    write('package.json', '{ "type": "module" }')
    symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'))
    write('.gitignore', 'node_modules\ndist\n')
    execFileSync('git', ['init', '-q'], { cwd: tree })

    const copy = new TrialCopy(tree, filesOf(tree), 60_000)
    onTestFinished(() => copy.remove())
    const [and, above, , below] = mutationsOf('age.ts', source)
    expect([and, above, below].map((mutant) => mutant?.text)).toEqual(['||', '>=', '<='])
    const tests = { cheap: ['test/age.test.ts', 'test/broken.test.ts'], dear: [] }
    if (above === undefined || below === undefined) throw new Error('no faults')
    expect(await copy.try(above, tests)).toEqual({ verdict: 'noticed', by: 'test/age.test.ts' })
    expect(await copy.try(below, { cheap: ['test/age.test.ts'], dear: [] })).toEqual({ verdict: 'missed' })
    expect(await copy.try(below, { cheap: ['test/broken.test.ts'], dear: [] })).toEqual({ verdict: 'undecided' })
    const ofProcess = { cheap: ['test/process.test.ts'], dear: [] }
    expect(await copy.try(above, ofProcess)).toEqual({ verdict: 'noticed', by: 'test/process.test.ts' })
    expect(await copy.try(below, ofProcess)).toEqual({ verdict: 'missed' })
    expect(readFileSync(join(tree, 'age.ts'), 'utf8')).toBe(source)
    expect(readFileSync(join(copy.folder, 'age.ts'), 'utf8')).toBe(source)
    // Ten starts of vitest.
  }, 300_000)
})
