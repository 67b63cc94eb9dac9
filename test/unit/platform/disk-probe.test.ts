import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { DiskProbe } from '../../../platform/disk-probe.ts'
import { ManualClock } from '../../fixtures/cloud-world.ts'

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'kinglet-probe-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

it('a folder that takes what is written is well, and nothing is left in it', async () => {
  const path = folder()
  expect(await new DiskProbe(path, new ManualClock()).look()).toBeUndefined()
  expect(readdirSync(path)).toEqual([])
})

// The device that is always full.
it.runIf(existsSync('/dev/full'))('a full disk is named, for ten seconds without another try', async () => {
  const path = folder()
  const clock = new ManualClock()
  const probe = new DiskProbe(path, clock)
  symlinkSync('/dev/full', join(path, '.probe'))
  expect(await probe.look()).toMatchObject({ code: 'disk-full' })
  clock.advanceTo(clock.wallMs() + 9_999)
  expect(await probe.look()).toMatchObject({ code: 'disk-full' })
  clock.advanceTo(clock.wallMs() + 1)
  expect(await probe.look()).toBeUndefined()
})

it('a folder that is gone, or may not be written, is named', async () => {
  const path = join(folder(), 'none')
  expect(await new DiskProbe(path, new ManualClock()).look()).toMatchObject({ code: 'disk-unwritable' })
})
