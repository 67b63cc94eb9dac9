import { execFileSync, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import ts from 'typescript'
import type { Concerned } from './concerned-tests.ts'
import { type Mutant, mutated } from './mutations.ts'

/** hung: the tests never ended, and do without the fault. undecided: no test that passes without it, or none that ends in good time */
export type Verdict = 'noticed' | 'hung' | 'missed' | 'undecided'

interface Outcome {
  readonly verdict: Verdict
  /** the test file that noticed */
  readonly by?: string
}

/** Files of a working tree that git knows or would take. */
export const filesOf = (root: string): string[] =>
  execFileSync('git', ['ls-files', '-co', '--exclude-standard', '--deduplicate'], { cwd: root, encoding: 'utf8' })
    .split('\n')
    .filter((file) => file !== '' && existsSync(join(root, file)))

/** So many files start in a few seconds, and most faults are noticed by them; a dozen take half a minute. */
const NEAREST = 3

interface Run {
  readonly ok: boolean
  readonly timedOut: boolean
  /** test files that failed */
  readonly failed: readonly string[]
}

/** A copy of the tree in which faults are tried; the tree itself is only read. */
export class TrialCopy {
  readonly folder: string
  readonly #root: string
  readonly #timeoutMs: number
  readonly #compilerOptions: ts.CompilerOptions
  /** whether a test file passes without any fault, once it was asked */
  readonly #sound = new Map<string, boolean>()
  readonly #inTime = new Map<string, boolean>()
  /** process group of the tests that run */
  #group: number | undefined

  /** @param timeoutMs for one run of the tests of one fault; a fault that makes them hang is noticed */
  constructor(root: string, files: readonly string[], timeoutMs: number) {
    this.#root = root
    this.#timeoutMs = timeoutMs
    this.folder = mkdtempSync(join(tmpdir(), 'kinglet-mutants-'))
    for (const file of files) {
      mkdirSync(dirname(join(this.folder, file)), { recursive: true })
      cpSync(join(root, file), join(this.folder, file))
    }
    symlinkSync(join(root, 'node_modules'), join(this.folder, 'node_modules'))
    // Tests of processes run what was built.
    if (existsSync(join(root, 'dist'))) cpSync(join(root, 'dist'), join(this.folder, 'dist'), { recursive: true })
    const config = ts.readConfigFile(join(root, 'tsconfig.build.json'), (path) => ts.sys.readFile(path))
    const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, root)
    // Alone, a file says nothing of the package it is of, whose modules are those of the language.
    this.#compilerOptions = { ...options, module: ts.ModuleKind.ESNext }
  }

  /** Runs the tests with the fault in place: the nearest, the others when those miss it, the dear ones last. A test that fails without it too
   *  is no witness and is left out. */
  async try(mutant: Mutant, { cheap, dear }: Concerned): Promise<Outcome> {
    let verdict: Verdict = 'undecided'
    for (const tests of [cheap.slice(0, NEAREST), cheap.slice(NEAREST), dear]) {
      if (tests.length === 0) continue
      const outcome = await this.#tryOn(mutant, tests)
      if (outcome.verdict === 'noticed' || outcome.verdict === 'hung') return outcome
      if (outcome.verdict === 'missed') verdict = 'missed'
    }
    return { verdict }
  }

  async #tryOn(mutant: Mutant, tests: readonly string[]): Promise<Outcome> {
    const path = join(this.folder, mutant.file)
    const source = readFileSync(path, 'utf8')
    let witnesses = tests.filter((test) => this.#sound.get(test) !== false)
    while (witnesses.length > 0) {
      this.#put(mutant.file, mutated(source, mutant))
      let run: Run
      try {
        run = await this.#run(witnesses)
      } finally {
        this.#put(mutant.file, source)
      }
      if (run.ok) return { verdict: 'missed' }
      if (run.timedOut) return { verdict: (await this.#endsInTime(witnesses)) ? 'hung' : 'undecided' }
      const accusers = run.failed.length > 0 ? run.failed : witnesses
      for (const test of accusers) if (await this.#isSound(test)) return { verdict: 'noticed', by: test }
      witnesses = witnesses.filter((test) => !accusers.includes(test))
    }
    return { verdict: 'undecided' }
  }

  /** Writes a source file, and what the build makes of it. */
  #put(file: string, source: string): void {
    writeFileSync(join(this.folder, file), source)
    const built = join(this.folder, 'dist', file.replace(/\.ts$/, '.js'))
    if (!existsSync(built)) return
    writeFileSync(built, ts.transpileModule(source, { compilerOptions: this.#compilerOptions }).outputText)
  }

  /** Whether the tests end, without a fault, well within the time that they are given. */
  async #endsInTime(tests: readonly string[]): Promise<boolean> {
    const name = tests.join()
    let inTime = this.#inTime.get(name)
    if (inTime === undefined) {
      const startedMs = performance.now()
      const { timedOut } = await this.#run(tests)
      inTime = !timedOut && performance.now() - startedMs < this.#timeoutMs / 2
      this.#inTime.set(name, inTime)
    }
    return inTime
  }

  remove(): void {
    this.#kill()
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #isSound(test: string): Promise<boolean> {
    let sound = this.#sound.get(test)
    if (sound === undefined) {
      sound = (await this.#run([test])).ok
      this.#sound.set(test, sound)
    }
    return sound
  }

  #run(tests: readonly string[]): Promise<Run> {
    // Where vitest.config.ts has it written.
    const report = join(this.folder, '.kinglet/test-results.json')
    rmSync(report, { force: true })
    const vitest = join(this.#root, 'node_modules/vitest/vitest.mjs')
    const options = ['run', '--root', this.folder, '--bail=1', '--reporter=json']
    // A group of its own: its workers end with it.
    const child = spawn(process.execPath, [vitest, ...options, ...tests], {
      cwd: this.folder,
      stdio: 'ignore',
      detached: true,
      env: { ...process.env, CI: '1' },
    })
    this.#group = child.pid
    return new Promise((resolve, reject) => {
      let timedOut = false
      const timer = setTimeout(() => {
        timedOut = true
        this.#kill()
      }, this.#timeoutMs)
      child.on('error', reject)
      child.on('exit', (code) => {
        clearTimeout(timer)
        this.#group = undefined
        resolve({ ok: code === 0, timedOut, failed: timedOut ? [] : this.#failedOf(report) })
      })
    })
  }

  #kill(): void {
    if (this.#group === undefined) return
    process.kill(-this.#group, 'SIGKILL')
    this.#group = undefined
  }

  #failedOf(report: string): string[] {
    if (!existsSync(report)) return []
    const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as {
      testResults: readonly { name: string; status: string; assertionResults: readonly { status: string }[] }[]
    }
    // A file that was cut off by another's failure has no failed test; one that does not load has none at all.
    return testResults
      .filter(({ status, assertionResults: tests }) =>
        tests.length === 0 ? status === 'failed' : tests.some((test) => test.status === 'failed'),
      )
      .map(({ name }) => name.slice(name.indexOf(this.folder) + this.folder.length + 1))
  }
}
