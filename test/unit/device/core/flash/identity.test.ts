import { createPrivateKey, sign as nodeSign } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { verifyEd25519 } from '../../../../../cloud/trust/ed25519.ts'
import { ATTESTED_CODES, readSignedEvent } from '../../../../../contract/attested-event.ts'
import { bytesEqual, hexToBytes } from '../../../../../contract/bytes.ts'
import { EVENT_CODES, eventCodec } from '../../../../../contract/messages.ts'
import { seededRandom } from '../../../../../contract/random.ts'
import { layoutOf } from '../../../../../device/core/flash/flash-layout.ts'
import {
  activatePendingKey,
  deviceKey,
  preparePendingKey,
  readIdentity,
  writeIdentity,
} from '../../../../../device/core/flash/identity.ts'
import { FlashNor } from '../../../../../firmware-sim/flash-nor.ts'
import { PureAgent, recordSample } from '../../../../fixtures/agent.ts'
import { DEVICE } from '../../../../fixtures/documents.ts'

const place = { device: 'wren-1', site: 'lab', board: 'board-a' }
const secure = (seed: number) => {
  const random = seededRandom(seed)
  return { bytes: (length: number) => Uint8Array.from({ length }, () => Math.floor(random.next() * 256)) }
}
const chip = () => {
  const flash = new FlashNor({ sizeBytes: 512 * 1024 })
  const layout = layoutOf(flash)
  if (!layout.ok) throw new Error(layout.error.detail)
  return { flash, layout: layout.value }
}

describe('identity in flash', () => {
  it('is none on an erased chip, pending before it is used, active when confirmed', () => {
    const { flash, layout } = chip()
    expect(readIdentity(flash, layout)).toBeUndefined()
    const prepared = preparePendingKey(flash, layout, place, secure(1))
    if (!prepared.ok) throw new Error()
    expect(readIdentity(flash, layout)).toEqual({ ...place, active: undefined, pending: prepared.value.pending })
    expect(activatePendingKey(flash, layout, prepared.value.pending)).toMatchObject({ ok: true })
    expect(readIdentity(flash, layout)).toEqual({ ...place, active: prepared.value.pending, pending: undefined })
  })

  it('has room for the longest ids, with both keys', () => {
    const { flash, layout } = chip()
    const longest = { device: 'd'.repeat(64), site: 's'.repeat(64), board: 'b'.repeat(32) }
    const identity = { ...longest, active: new Uint8Array(32).fill(1), pending: new Uint8Array(32).fill(2) }
    expect(writeIdentity(flash, layout, identity)).toMatchObject({ ok: true })
    expect(readIdentity(flash, layout)).toEqual(identity)
  })

  it('keeps a pending key over attempts, and forgets one of another place', () => {
    const { flash, layout } = chip()
    const [a, b] = [secure(1), secure(2)]
    const first = preparePendingKey(flash, layout, place, a)
    expect(preparePendingKey(flash, layout, place, b)).toEqual(first)
    const moved = preparePendingKey(flash, layout, { ...place, site: 'yard' }, b)
    expect(moved.ok && first.ok && bytesEqual(moved.value.pending, first.value.pending)).toBe(false)
  })

  it('holds a key that counts whatever moment of a rotation the power goes at', () => {
    const seeds = [1, 2].map((n) => new Uint8Array(32).fill(n)) as [Uint8Array, Uint8Array]
    /** The rotation from `seeds[0]` to `seeds[1]`; the cloud confirms between the two writes. */
    const rotate = (flash: FlashNor, layout: ReturnType<typeof chip>['layout'], confirmed: () => void) => {
      const prepared = preparePendingKey(flash, layout, place, { bytes: () => seeds[1] })
      if (!prepared.ok) return
      confirmed()
      activatePendingKey(flash, layout, prepared.value.pending)
    }
    const clean = chip()
    writeIdentity(clean.flash, clean.layout, { ...place, active: seeds[0] })
    let operations = 0
    clean.flash.onOperation = () => {
      operations++
      return undefined
    }
    rotate(clean.flash, clean.layout, () => undefined)
    expect(operations).toBeGreaterThanOrEqual(4)
    let told = 0
    for (let cut = 0; cut < operations; cut++) {
      for (const kind of ['before', 'torn'] as const) {
        const { flash, layout } = chip()
        writeIdentity(flash, layout, { ...place, active: seeds[0] })
        let index = 0
        let dead = false
        let cloudHasNew = false
        // Once the power is gone nothing is written any more, until it is back.
        const { erase, program } = flash
        const gone = () => ({ ok: false, error: { code: 'flash-write-failed', detail: 'no power' } }) as const
        flash.erase = (offset) => {
          if (dead || index++ === cut) {
            if (!dead && kind === 'torn') erase.call(flash, offset)
            dead = true
            return gone()
          }
          return erase.call(flash, offset)
        }
        flash.program = (offset, data) => {
          if (dead || index++ === cut) {
            if (!dead && kind === 'torn') program.call(flash, offset, data.subarray(0, flash.programBytes))
            dead = true
            return gone()
          }
          return program.call(flash, offset, data)
        }
        rotate(flash, layout, () => {
          cloudHasNew = true
        })
        flash.erase = erase
        flash.program = program
        const after = readIdentity(flash, layout)
        const counts = cloudHasNew ? seeds[1] : seeds[0]
        const held = [after?.active, after?.pending].some((seed) => seed !== undefined && bytesEqual(seed, counts))
        expect(held, `cut ${kind} operation ${cut}`).toBe(true)
        if (cloudHasNew) told++
        // And the rotation can be ended.
        rotate(flash, layout, () => undefined)
        expect(readIdentity(flash, layout)).toEqual({ ...place, active: seeds[1], pending: undefined })
      }
    }
    expect(told).toBeGreaterThan(0)
  })
})

describe('what a device signs', () => {
  const seed = new Uint8Array(32).fill(9)
  const key = deviceKey(seed)

  it('is the same by tweetnacl and by node', () => {
    const der = Buffer.concat([hexToBytes('302e020100300506032b657004220420'), seed])
    const node = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    const message = new TextEncoder().encode('a message')
    expect(key.sign(message)).toEqual(new Uint8Array(nodeSign(null, message, node)))
    expect(verifyEd25519(message, key.sign(message), key.public.publicKey)).toBe(true)
    expect(verifyEd25519(message, key.sign(message).fill(1, 0, 1), key.public.publicKey)).toBe(false)
    expect(verifyEd25519(message, new Uint8Array(3), 'ff'.repeat(32))).toBe(false)
  })

  it('are the events that count, with where it stands; without a key nothing is', () => {
    const events = (sign?: typeof key.sign) => {
      const agent = new PureAgent(
        { outcome: 'reverted', record: { ...recordSample, untold: 'reverted', assignmentSeq: 4, securityCounter: 2 } },
        sign === undefined ? {} : { sign },
      )
      agent.send({ type: 'engine-failed', error: { code: 'model-load-failed', detail: 'x' } })
      return agent.state.outbox.messages.filter(({ kind }) => kind === 'event').map(({ payload }) => payload)
    }
    const signed = events(key.sign)
    const told = signed.map((payload) => {
      const read = readSignedEvent(payload, DEVICE)
      if (!read.ok) throw new Error(read.error.detail)
      const { event, message, signature } = read.value
      const code = EVENT_CODES[event.code]!
      expect(signature !== undefined, code).toBe(ATTESTED_CODES.includes(code))
      if (signature !== undefined) {
        expect(verifyEd25519(message, signature, key.public.publicKey)).toBe(true)
        expect(event).toMatchObject({ assignmentSeq: 4, securityCounter: 2 })
        const elsewhere = readSignedEvent(payload, 'another-device')
        if (!elsewhere.ok) throw new Error()
        expect(verifyEd25519(elsewhere.value.message, signature, key.public.publicKey)).toBe(false)
      }
      return code
    })
    expect(told).toEqual(['booted', 'reverted', 'engine-failed'])
    for (const payload of events()) {
      expect(eventCodec.decode(payload)).toMatchObject({
        ok: true,
        value: { signature: undefined, securityCounter: undefined },
      })
    }
  })
})
