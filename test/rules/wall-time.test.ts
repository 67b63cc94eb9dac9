import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

/** Tests that are about waiting itself, with bounds of many times what they take. */
const ABOUT_WAITING = new Map([
  ['test/unit/platform/owner-lock.test.ts', 'a lock that is held is refused and not waited for'],
  ['test/unit/platform/patient-fetch.test.ts', 'an attempt ends by real timers'],
  ['test/unit/cloud/store/retention.test.ts', 'a checkpoint does not wait for a reader'],
  ['test/unit/cli/keys/signer-exec.test.ts', 'a process that hangs is ended'],
])
const JUDGES = /expect\([^\n]*(?:performance|Date)\.now\(\) - [^\n]*\.toBeLess/

function judging(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return judging(path)
    return path.endsWith('.ts') && JUDGES.test(readFileSync(path, 'utf8')) ? [path] : []
  })
}

it('no test judges by the clock on the wall how long something took: a busy machine would fail it', () => {
  expect(judging('test').sort()).toEqual([...ABOUT_WAITING.keys()].sort())
})

it('finds one that does', () => {
  const judges = (value: string, how: string) => JUDGES.test(`expect(${value}).${how}(5)`)
  expect(judges('performance.now() - from', 'toBeLessThan')).toBe(true)
  expect(judges('Date.now() - from', 'toBeLessThanOrEqual')).toBe(true)
  expect(judges('Math.abs(hour - Date.now())', 'toBeLessThan')).toBe(false)
})
