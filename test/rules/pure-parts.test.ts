import { join, relative } from 'node:path'
import { ESLint } from 'eslint'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { files, ROOT } from '../docs/documents.ts'

/** What CONTRIBUTING.md forbids in the pure parts, each as somebody in a hurry would write it, and what goes red: codes of the compiler
 *  (a name that does not exist, a path that returns nothing) and rules of the linter. */
const FORBIDDEN: readonly (readonly [what: string, source: string, red: readonly string[]])[] = [
  ['Date.now()', 'export const at = () => Date.now()', ['no-restricted-properties']],
  ['Date.now, taken apart', 'const { now } = Date\nexport const at = () => now()', ['no-restricted-properties']],
  ['new Date()', 'export const at = () => new Date().getTime()', ['no-restricted-syntax']],
  ['Date()', 'export const at = () => Date()', ['no-restricted-syntax']],
  ['Math.random()', 'export const draw = () => Math.random()', ['no-restricted-properties']],
  ['performance.now()', 'export const at = () => performance.now()', ['TS2304']],
  ['crypto', 'export const id = () => crypto.randomUUID()', ['TS2304']],
  ['fetch', "export const ask = () => fetch('http://127.0.0.1/')", ['TS2304']],
  ['setTimeout', 'export const later = () => setTimeout(() => undefined, 1)', ['TS2304']],
  ['process.env', 'export const home = () => process.env.HOME', ['TS2591']],
  ['process, of the global object', 'export const home = () => globalThis.process', ['TS7017']],
  [
    'process, declared here',
    'declare const process: { env: object }\nexport const e = () => process.env',
    ['no-restricted-syntax'],
  ],
  ['Buffer', "export const bytes = () => Buffer.from('a')", ['TS2591']],
  ['console', "export const say = () => console.log('a')", ['TS2584']],
  ['a let of the module', 'let count = 0\nexport const next = () => ++count', ['no-restricted-syntax']],
  ['an exported let', 'export let count = 0\nexport const next = () => ++count', ['no-restricted-syntax']],
  [
    'a promise that nobody waits for',
    'const ask = async () => Promise.resolve(1)\nexport function tell(): void {\n  ask()\n}',
    ['ts/no-floating-promises'],
  ],
  [
    'a promise where nobody looks at it',
    'export const all = (items: number[]) => items.forEach(async (item) => Promise.resolve(item))',
    ['ts/no-misused-promises'],
  ],
  [
    'a path without a return',
    'export const sign = (n: number) => {\n  if (n > 0) return 1\n  if (n < 0) return -1\n}',
    ['TS7030'],
  ],
  [
    'any',
    'export const read = (text: string): string => JSON.parse(text).name',
    ['ts/no-unsafe-member-access', 'ts/no-unsafe-return'],
  ],
  [
    'a switch that forgets a case',
    "export function f(kind: 'a' | 'b'): void {\n  switch (kind) {\n    case 'a':\n      break\n  }\n}",
    ['ts/switch-exhaustiveness-check'],
  ],
  [
    'a claim that it is there',
    'export const of = (map: Map<string, number>) => map.get("a")!',
    ['no-restricted-syntax'],
  ],
]
const ALLOWED = [
  'export const at = (text: string) => new Date(text).getTime()',
  'export const bytes = (text: string) => new TextEncoder().encode(text)',
  'export const count = () => {\n  let n = 0\n  n++\n  return n\n}',
].join('\n')

const PURE = ['contract', 'model', 'device/core', 'device/ports', 'release'] as const
const projectOf = (folder: string) => join(ROOT, folder.split('/')[0]!, 'tsconfig.json')

/** A program of sources that are in no file, under the tsconfig of a folder. */
function programOf(project: string, sources: ReadonlyMap<string, string>): ts.Program {
  const { config } = ts.readConfigFile(project, ts.sys.readFile)
  const parsed = ts.parseJsonConfigFileContent(
    { ...config, include: [] },
    ts.sys,
    join(project, '..'),
    undefined,
    project,
  )
  const host = ts.createCompilerHost(parsed.options, true)
  const { fileExists, readFile, getSourceFile } = host
  host.fileExists = (name) => sources.has(name) || fileExists(name)
  host.readFile = (name) => sources.get(name) ?? readFile(name)
  host.getSourceFile = (name, target, ...rest) => {
    const source = sources.get(name)
    if (source === undefined) return getSourceFile(name, target, ...rest)
    return ts.createSourceFile(name, source, target, true)
  }
  const program = ts.createProgram([...parsed.fileNames, ...sources.keys()], parsed.options, host)
  return program
}

/** @returns of each source, what goes red */
async function redOf(folder: string, project: string, sources: readonly string[]): Promise<string[][]> {
  const named = new Map(sources.map((source, i) => [join(ROOT, folder, `tried-${i}.ts`), `${source}\n`]))
  const program = programOf(project, named)
  const eslint = new ESLint({
    cwd: ROOT,
    overrideConfig: { languageOptions: { parserOptions: { project: null, programs: [program] } } },
  })
  const red: string[][] = []
  for (const [name, source] of named) {
    const compiled = ts.getPreEmitDiagnostics(program, program.getSourceFile(name)).map(({ code }) => `TS${code}`)
    const [linted] = await eslint.lintText(source, { filePath: relative(ROOT, name) })
    red.push([...compiled, ...linted!.messages.map(({ ruleId, message }) => ruleId ?? message)])
  }
  return red
}

describe('rules that tools enforce', () => {
  it.each(PURE)(
    '%s: no clock, chance, timer, environment or platform, no state, no promise unwatched',
    async (folder) => {
      const red = await redOf(folder, projectOf(folder), [...FORBIDDEN.map(([, source]) => source), ALLOWED])
      const expected = FORBIDDEN.map(([what, , rules]) => ({ what, red: [...rules].sort() }))
      expect(
        FORBIDDEN.map(([what], i) => ({
          what,
          red: [...new Set(red[i])].filter((rule) => !rule.startsWith('ts/no-unsafe') || what === 'any').sort(),
        })),
      ).toEqual(expected)
      expect(red.at(-1)).toEqual([])
    },
  )

  it('every source of the pure parts is compiled by the project of its folder', () => {
    const outside = [...files].filter(
      (file) =>
        /^(contract|model|release|device\/(core|ports))\/.*\.ts$/.test(file) && !/^model\/[a-z-]+\/wasm\//.test(file),
    )
    const compiled = new Set(
      ['contract', 'model', 'release', 'device'].flatMap((folder) => {
        const { config } = ts.readConfigFile(projectOf(folder), ts.sys.readFile)
        const { fileNames } = ts.parseJsonConfigFileContent(
          config,
          ts.sys,
          join(ROOT, folder),
          undefined,
          projectOf(folder),
        )
        return fileNames.map((name) => relative(ROOT, name))
      }),
    )
    expect(outside.filter((file) => !compiled.has(file))).toEqual([
      'model/engine/engine-ort-node.ts',
      'model/engine/engine-ort-session.ts',
    ])
  })

  it('elsewhere the platform is allowed, but no clock and no chance of its own, and promises are still watched', async () => {
    const sources = FORBIDDEN.filter(([what]) =>
      /^(Date.now|new Date|Math.random|fetch|setTimeout|process.env|Buffer|a let|a promise)/.test(what),
    )
    const red = await redOf(
      'cli',
      join(ROOT, 'tsconfig.json'),
      sources.map(([, source]) => source),
    )
    expect(sources.map(([what], i) => [what, red[i]]).filter(([, rules]) => rules!.length > 0)).toEqual([
      ['Date.now()', ['no-restricted-properties']],
      ['Date.now, taken apart', ['no-restricted-properties']],
      ['new Date()', ['no-restricted-syntax']],
      ['Math.random()', ['no-restricted-properties']],
      ['a promise that nobody waits for', ['ts/no-floating-promises']],
      ['a promise where nobody looks at it', ['ts/no-misused-promises']],
    ])
  })
})
