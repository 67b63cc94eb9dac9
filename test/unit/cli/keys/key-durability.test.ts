import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { publicKeyOf } from '../../../../contract/signed.ts'
import { tufKeyId } from '../../../../release/tuf-document.ts'
import { watchMedium } from '../../../fixtures/medium.ts'
import { operatorMachine } from '../../../fixtures/operator-machine.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-key-durability-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

// A root that names keys which a power cut took away can never be followed by another.
it('keys are on the medium, with their folder, before a root that names them is written', async () => {
  const clock = { wallMs: () => Date.UTC(2026, 0, 1), monotonicMs: () => 0, after: () => () => undefined }
  const cloudKeyFile = join(dir, 'cloud-keys.json')
  const online = { keyId: tufKeyId('b'.repeat(64)), publicKey: 'b'.repeat(64) }
  writeFileSync(cloudKeyFile, JSON.stringify({ online, director: publicKeyOf(new Uint8Array(32).fill(3)) }))
  const medium = watchMedium(dir)
  try {
    const { lifecycle } = operatorMachine(dir, clock)
    await lifecycle.init({ cloudKeyFile, rootKeys: 2, rootThreshold: 2, targetsKeys: 1, rootKeyFiles: [] })
  } finally {
    medium.stop()
  }
  const { steps } = medium
  const keys = steps.flatMap((step, i) => (/^rename .*\.key$/.test(step) ? [i] : []))
  const firstRoot = steps.findIndex((step) => step.includes('1.root.json'))
  expect(keys).toHaveLength(3)
  expect(firstRoot).toBeGreaterThan(0)
  for (const at of keys) {
    const [, from] = /^rename (.*) /.exec(steps[at]!)!
    expect(steps[at - 1]).toBe(`sync ${from}`)
    expect(steps[at + 1]).toBe('sync keys')
    expect(at + 1).toBeLessThan(firstRoot)
  }
  // The folder of the keys is new, so its own name counts.
  expect(steps.indexOf('sync ')).toBeGreaterThanOrEqual(0)
  expect(steps.indexOf('sync ')).toBeLessThan(firstRoot)
})
