// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the source of other files

import type { ListedFault } from './listed-fault.ts'

/** The bounded sweep of power cuts must notice each of these by itself: orders of flash writes, and what is believed of flash. */
const noticedBy = ['test/simulation/powercut.test.ts']
type FlashFault = Pick<ListedFault, 'name' | 'file' | 'find' | 'change'>

const FAULTS: readonly FlashFault[] = [
  {
    name: 'the trust record erases both copies first',
    file: 'device/core/flash/trust-record.ts',
    find: '  const { root, timestamp, snapshot } = files\n  return writePair(',
    change:
      '  const { root, timestamp, snapshot } = files\n  for (const at of layout.trust.areas) flash.erase(at)\n  return writePair(',
  },
  {
    name: 'a failed write forgets which slot runs',
    file: 'device/core/agent/agent-install.ts',
    find: 'boots: record.boots, ...kept } })',
    change: 'boots: record.boots, phase: kept.phase } })',
  },
  {
    name: 'the spool is cleared at boot, before it is acknowledged',
    file: 'device/core/host.ts',
    find: '        outbox: readSpool(flash, this.#layout),\n',
    change:
      '        outbox: ((held) => {\n          clearSpool(flash, this.#layout)\n          return held\n        })(readSpool(flash, this.#layout)),\n',
  },
  {
    name: 'the spool is erased before it is written',
    file: 'device/core/flash/spool.ts',
    find: '  const written = writePair(flash, layout.spool, payload)\n',
    change:
      '  for (const at of layout.spool.areas) flash.erase(at)\n  const written = writePair(flash, layout.spool, payload)\n',
  },
  {
    name: 'the spool is cleared when the first message is acknowledged',
    file: 'device/core/agent/agent.ts',
    find: 'step.state.reporting.spooled && step.state.outbox.messages.length === 0',
    change: 'step.state.reporting.spooled',
  },
  {
    name: 'what nobody acknowledges is kept in RAM alone while the link is up',
    file: 'device/core/agent/agent.ts',
    find: 'const waits = !state.connected || state.outbox.messages.length > 0',
    change: 'const waits = !state.connected',
  },
  {
    name: 'a boot does not look for spooled messages',
    file: 'device/core/flash/spool.ts',
    find: '  return payload.length === 0 ? EMPTY_OUTBOX : decodeSpool(payload)',
    change: '  return payload.length >= 0 ? EMPTY_OUTBOX : decodeSpool(payload)',
  },
  {
    name: 'a pair of records is written over its newest copy',
    file: 'device/core/flash/record-pair.ts',
    find: 'const area = former?.area === 0 ? 1 : 0',
    change: 'const area = former?.area ?? 0',
  },
  {
    name: 'the slot is not declared empty before it is written',
    file: 'device/core/agent/agent-download.ts',
    find: "    step.writeRecord({ phase: 'confirmed', images: withImage(record, slot, EMPTY_IMAGE) })\n",
    change:
      "    step.set({ record: { ...record, phase: 'confirmed', images: withImage(record, slot, EMPTY_IMAGE) } })\n",
  },
  {
    name: 'progress is struck out before the image is pending',
    file: 'device/core/agent/agent-install.ts',
    find: "  step.writeRecord({ images, phase: 'pending' })\n  dropProgress(step)\n",
    change: "  dropProgress(step)\n  step.writeRecord({ images, phase: 'pending' })\n",
  },
  {
    name: 'a trial is begun that the record does not know of',
    file: 'device/core/boot.ts',
    find: "    if (outcome === 'trial') {\n      // Before anything",
    change: "    if (outcome === 'trial' && round > 0) {\n      // Before anything",
  },
  {
    name: 'a fall-back is not written down',
    file: 'device/core/boot.ts',
    find: '    const written = writeRecord(flash, layout, record)\n    return ok({',
    change:
      "    const written = outcome === 'fell-back' ? ok(undefined) : writeRecord(flash, layout, record)\n    return ok({",
  },
  {
    name: 'what is to be told is struck out before anybody has heard of it',
    file: 'device/core/agent/agent-install.ts',
    find: "  step.change('reporting', { untoldId: step.event(untold, { ...details, assignmentSeq, about }) })\n",
    change: '  step.event(untold, { ...details, assignmentSeq, about })\n  toldUntold(step)\n',
  },
  {
    name: 'the record of a lost record takes the newer image for the confirmed one',
    file: 'device/core/flash/slot-scan.ts',
    find: 'a.manifest.version - b.manifest.version',
    change: 'b.manifest.version - a.manifest.version',
  },
  {
    name: 'a device that is flashed anew says so before the image is there',
    file: 'device/core/flash/provision.ts',
    find: '  const written = programSlot(flash, layout.value, 0, 0, bundle)\n  if (!written.ok) return written\n',
    change:
      "  const early = readRecord(flash, layout.value)\n  const image = { sha256: sha256(bundle), bytes: bundle.length }\n  if (early !== undefined) writeRecord(flash, layout.value, { ...early, active: 0, phase: 'confirmed', images: [image, EMPTY_IMAGE] })\n  const written = programSlot(flash, layout.value, 0, 0, bundle)\n  if (!written.ok) return written\n",
  },
  {
    name: 'boots are counted anew when a device is flashed again',
    file: 'device/core/flash/provision.ts',
    find: 'boots: former?.boots ?? 0,',
    change: 'boots: 0,',
  },
  {
    name: 'a key is used before it is in flash',
    file: 'device/core/flash/identity.ts',
    find: '  const written = writeIdentity(flash, layout, identity)\n  return written.ok ? ok(identity) : written\n',
    change: '  return ok(identity)\n',
  },
  {
    name: 'a rotation forgets the former key before the cloud has the next',
    file: 'device/core/flash/identity.ts',
    find: 'active: same ? found.active : undefined, pending',
    change: 'active: undefined, pending',
  },
  {
    name: 'a confirmed key leaves the flash before it comes back as the active one',
    file: 'device/core/flash/identity.ts',
    find: '  return writeIdentity(flash, layout, { ...identity, active: identity.pending, pending: undefined })',
    change:
      '  writeIdentity(flash, layout, { ...identity, active: undefined, pending: undefined })\n  return writeIdentity(flash, layout, { ...identity, active: identity.pending, pending: undefined })',
  },
  {
    name: 'the pending key of a rotation that was cut is not tried',
    file: 'device/link/identity-protocol.ts',
    find: "granted.error.code !== 'unknown-key' || pending === undefined",
    change: "granted.error.code !== 'unknown-key' || pending !== undefined",
  },
  {
    name: 'a new root is not kept',
    file: 'device/core/flash/trust-record.ts',
    find: 'codec.encode({ root, timestamp, snapshot, ...floor })',
    change: 'codec.encode({ root: readTrust(flash, layout)?.files.root ?? root, timestamp, snapshot, ...floor })',
  },
  {
    name: 'the floor under the clock is not kept',
    file: 'device/core/flash/trust-record.ts',
    find: 'codec.encode({ root, timestamp, snapshot, ...floor })',
    change:
      'codec.encode({ root, timestamp, snapshot, ...floor, floorMs: readTrust(flash, layout) === undefined ? floor.floorMs : 0 })',
  },
  {
    name: 'a device that is flashed again accepts what it had left behind',
    file: 'device/core/flash/provision.ts',
    find: 'Math.max(former?.securityCounter ?? 0, securityCounter)',
    change: 'securityCounter',
  },
]

export const FLASH_FAULTS: readonly ListedFault[] = FAULTS.map((fault) => ({ ...fault, noticedBy }))
