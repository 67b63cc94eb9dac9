import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

/** Rows of the table under a heading, cell by cell. */
function rowsUnder(heading: string): readonly string[][] {
  const text = readFileSync(join(ROOT, 'docs/security.md'), 'utf8')
  const section = text.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  const lines = section.split('\n').filter((line) => line.startsWith('|'))
  return lines.slice(2).map((line) =>
    line
      .slice(1, -1)
      .split(' | ')
      .map((cell) => cell.trim()),
  )
}

const rows = rowsUnder('Credentials')

it('says of every credential who holds it, what a thief can do, for how long, and how it is ended', () => {
  expect(rows.length).toBeGreaterThan(10)
  for (const row of rows) {
    expect(row, row[0]).toHaveLength(6)
    for (const cell of row) expect(cell, row[0]).not.toBe('')
  }
})

it.each(rows.map((row) => [row[0], row[5] ?? ''] as const))(
  '%s: the test that rehearsed its end is there',
  (_, named) => {
    const tests = [...named.matchAll(/`(test\/[\w/.-]+\.test\.ts)` "([^"]+)"/g)]
    expect(tests.length).toBeGreaterThan(0)
    for (const [, file = '', name = ''] of tests) {
      expect(existsSync(join(ROOT, file)), file).toBe(true)
      const titles = [
        ...readFileSync(join(ROOT, file), 'utf8').matchAll(/^\s*(?:it|describe)[^'\n]*\(\s*'((?:[^'\\]|\\.)*)'/gm),
      ]
      expect(
        titles.map(([, title]) => title).filter((title) => title?.includes(name)),
        `${file}: ${name}`,
      ).toHaveLength(1)
    }
  },
)

/** Where the tests of attacks are that are named without a folder. */
const ATTACKS = 'test/runtime/node'

it('every test file that the table of attacks names is there', () => {
  const attacks = rowsUnder('Attacks and their tests')
  expect(attacks.length).toBeGreaterThan(30)
  for (const [attack, test = ''] of attacks) {
    const named = [...test.matchAll(/[\w/.-]+\.test\.ts/g)].map(([file]) => file)
    const short = [...test.matchAll(/\b(attacks(?:-\w+)?)(?=[:\s;]|$)/g)].map(([, name]) => `${name}.test.ts`)
    const files = [...named, ...short]
    expect(files.length, attack).toBeGreaterThan(0)
    for (const file of files) {
      expect(existsSync(join(ROOT, file.includes('/') ? file : `${ATTACKS}/${file}`)), `${attack}: ${file}`).toBe(true)
    }
  }
})
