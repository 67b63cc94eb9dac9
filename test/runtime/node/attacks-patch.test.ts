import { afterEach, describe, expect, it } from 'vitest'
import { bytesToHex, sha256, sha256Hex } from '../../../contract/bytes.ts'
import { encodeBlock } from '../../../contract/messages.ts'
import { readPatchHeader, sha256Half } from '../../../contract/patch/patch-header.ts'
import { makePatch } from '../../../release/patch/make-patch.ts'
import { AttackBench, offer } from './attack-bench.ts'

/** Wrong precursor, and patches that are something else than they are signed as. Each is mounted against the shipping device over sockets;
 *  the device refuses it with its own code, its active image untouched, and gets the update all the same: the bundle itself. */

let bench: AttackBench
afterEach(async () => bench.close())

/** The release names this patch for the image that runs, and the cloud serves something under its hash. */
const start = async (
  make: (first: Uint8Array, second: Uint8Array) => Uint8Array,
  served: (patch: Uint8Array) => Uint8Array = (patch) => patch,
) => {
  bench = await AttackBench.start()
  const { repository, cloud, first, second } = bench
  const patch = make(first.bundle, second.bundle)
  const named = { base: first.release.sha256, sha256: sha256Hex(patch), bytes: patch.length }
  offer(repository, second.bundle, { ...second.release, patches: [named] })
  repository.publish('targets', 'snapshot', 'timestamp')
  cloud.artifacts.set(named.sha256, served(patch))
  await bench.assign()
  return { patch, sha256: named.sha256 }
}
/** What is in the slot that does not run. */
const idleSlot = () => sha256Hex(bench.flash.read(bench.layout.slots[1], bench.layout.slotBytes))
/** Downloads that were written, by artifact. */
const written = () => new Set(bench.effects.flatMap((e) => (e.type === 'apply-block' ? [e.artifact.sha256] : [])))
/** The attack was seen, and the bundle itself follows by the same assignment. */
const expectRefusedThenWhole = async (told: string): Promise<void> => {
  await bench.untilTold(`install-delayed: ${told}`)
  bench.expectUntouched()
  await bench.expectHonestUpdate()
  expect(bench.told.filter((said) => said.startsWith('install-delayed'))).toEqual([`install-delayed: ${told}`])
  expect(bench.record()).toMatchObject({ failures: 0 })
  expect([...written()].at(-1)).toBe(bench.second.release.sha256)
}
/** A patch whose header says that it makes `claimed`. */
const claiming = (patch: Uint8Array, claimed: Uint8Array): Uint8Array => {
  const read = readPatchHeader(patch)
  if (!read.ok) throw new Error(read.error.detail)
  const out = Uint8Array.from(patch)
  out.set(sha256Half(sha256(claimed)), read.value.headerBytes - 16)
  return out
}
const changed = (bytes: Uint8Array): Uint8Array => bytes.map((byte, i) => (i % 1_000 === 500 ? byte ^ 1 : byte))

describe('wrong precursor', () => {
  it('an honest patch is taken', async () => {
    const { patch, sha256: hash } = await start(makePatch)
    await bench.expectHonestUpdate()
    expect([...written()]).toEqual([hash])
    expect(patch.length).toBeLessThan(bench.second.bundle.length / 2)
    expect(bench.told).not.toContainEqual(expect.stringContaining('delayed'))
  })

  it('a patch for another base, signed as one for this: wrong-base, before the slot is written', async () => {
    await start((first, second) => makePatch(changed(first), second))
    const before = idleSlot()
    await bench.untilTold('install-delayed: wrong-base')
    expect(idleSlot()).toBe(before)
    await expectRefusedThenWhole('wrong-base')
  })

  it('a patch for another image: contradicts-release, before the slot is written', async () => {
    await start((first, second) => makePatch(first, changed(second)))
    const before = idleSlot()
    await bench.untilTold('install-delayed: contradicts-release')
    expect(idleSlot()).toBe(before)
    await expectRefusedThenWhole('contradicts-release')
  })

  it('a patch for another image that claims to be for this one: hash-mismatch', async () => {
    await start((first, second) => claiming(makePatch(first, changed(second)), second))
    await expectRefusedThenWhole('hash-mismatch')
  })

  it('a patch that ends too early: patch-truncated', async () => {
    await start((first, second) => makePatch(first, second).subarray(0, 5_000))
    await expectRefusedThenWhole('patch-truncated')
  })

  it('a patch that does not end: patch-malformed', async () => {
    await start((first, second) => Uint8Array.from([...makePatch(first, second), ...new Uint8Array(9_000)]))
    await expectRefusedThenWhole('patch-malformed')
  })

  it('bytes that are no patch: patch-malformed', async () => {
    await start((_, second) => second.slice(0, 9_000))
    await expectRefusedThenWhole('patch-malformed')
  })

  it('a patch swapped by the cloud: the gateway serves no byte of it, and the honest one is taken when it is back', async () => {
    const { patch, sha256: hash } = await start(makePatch, (bytes) => changed(bytes))
    await bench.untilTold('install-delayed: hash-mismatch')
    expect(written().size).toBe(0)
    bench.expectUntouched()
    bench.cloud.artifacts.set(hash, patch)
    await bench.expectHonestUpdate()
    expect([...written()]).toEqual([hash])
  })

  it('a patch swapped by the gateway, each block with a check that holds: what it makes is not the release', async () => {
    bench = await AttackBench.start({ gateway: 'lying' })
    const { first, second } = bench
    const swapped = claiming(makePatch(first.bundle, changed(second.bundle)), second.bundle)
    const named = { base: first.release.sha256, sha256: 'ab'.repeat(32), bytes: swapped.length }
    offer(bench.repository, second.bundle, { ...second.release, patches: [named] })
    bench.repository.publish('targets', 'snapshot', 'timestamp')
    bench.liar.block = ({ sha256: asked, offset, length }, honest) =>
      bytesToHex(asked) === named.sha256 ? [encodeBlock(swapped, offset, length)] : [honest]
    await bench.assign()
    await expectRefusedThenWhole('hash-mismatch')
  })
})
