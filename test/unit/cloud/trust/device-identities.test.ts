import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { Store } from '../../../../cloud/store/store.ts'
import { DeviceIdentities } from '../../../../cloud/trust/device-identities.ts'
import { createTokenIssuer } from '../../../../cloud/trust/tokens.ts'
import { bytesToHex, hexToBytes } from '../../../../contract/bytes.ts'
import { enrolmentMessage, rotationMessage, tokenMessage } from '../../../../contract/device-proof.ts'
import type { ClaimFile } from '../../../../contract/enrolment.ts'
import { seededRandom } from '../../../../contract/random.ts'
import { deviceKey } from '../../../../device/core/flash/identity.ts'
import { ManualClock } from '../../../fixtures/cloud-world.ts'
import { T0 } from '../../../fixtures/synthetic-fleet.ts'

const DAY = 86_400_000
const keyOf = (seed: number) => deviceKey(new Uint8Array(32).fill(seed))
type Key = ReturnType<typeof keyOf>
const code = (result: { ok: true } | { ok: false; error: { code: string } }): string =>
  result.ok ? 'ok' : result.error.code

let store: Store
let clock: ManualClock
let identities: DeviceIdentities
beforeEach(async () => {
  store = new Store(':memory:', T0)
  onTestFinished(() => store.close())
  clock = new ManualClock()
  const draw = seededRandom(3)
  const random = { bytes: (length: number) => Uint8Array.from({ length }, () => Math.floor(draw.next() * 256)) }
  identities = new DeviceIdentities(
    store,
    await createTokenIssuer(new Uint8Array(32).fill(1), clock, random, store.tokens),
    clock,
    random,
  )
})

function claimOf(device: string, replace = false): ClaimFile {
  const claim = identities.claim({ device, site: 'lab', board: 'board-a', ttlMs: DAY, replace }, 'operator')
  if (!claim.ok) throw new Error(claim.error.detail)
  return claim.value
}

function enrol({ claim, secret, device }: ClaimFile, key: Key) {
  const challenge = identities.challenge()
  const { publicKey } = key.public
  const message = enrolmentMessage({ claim, device, publicKey: hexToBytes(publicKey), challenge })
  const claimSignature = bytesToHex(deviceKey(hexToBytes(secret)).sign(message))
  const signature = bytesToHex(key.sign(message))
  return code(identities.enrol({ claim, device, publicKey, challenge, claimSignature, signature }, () => undefined))
}

async function token(device: string, key: Key) {
  const challenge = identities.challenge()
  const { keyId } = key.public
  const signature = bytesToHex(key.sign(tokenMessage(device, keyId, challenge)))
  return code(await identities.token(device, { keyId, challenge, signature }))
}

function rotate(device: string, former: Key, next: Key) {
  const challenge = identities.challenge()
  const { publicKey } = next.public
  const formerKeyId = former.public.keyId
  const message = rotationMessage({ device, formerKeyId, publicKey: hexToBytes(publicKey), challenge })
  const proof = { formerSignature: bytesToHex(former.sign(message)), signature: bytesToHex(next.sign(message)) }
  return code(identities.rotate(device, { formerKeyId, publicKey, challenge, ...proof }))
}

describe('a claim', () => {
  it('is good once: the second who has it is told so, and the first stays enrolled', async () => {
    const claim = claimOf('wren')
    expect(enrol(claim, keyOf(1))).toBe('ok')
    expect(enrol(claim, keyOf(2))).toBe('claim-used')
    expect([await token('wren', keyOf(1)), await token('wren', keyOf(2))]).toEqual(['ok', 'unknown-key'])
  })

  it('is burned by one of two that try at the same moment', () => {
    const { claim } = claimOf('wren')
    expect([1, 2].map((ms) => store.identities.burnClaim(claim, T0 + ms))).toEqual([true, false])
    expect(store.identities.claim(claim)?.usedMs).toBe(T0 + 1)
  })

  it('of its last millisecond is good, and not of the next', () => {
    const [a, b] = [claimOf('wren'), claimOf('robin')]
    clock.advanceTo(T0 + DAY - 1)
    expect(enrol(a, keyOf(1))).toBe('ok')
    clock.advanceTo(T0 + DAY)
    expect(enrol(b, keyOf(2))).toBe('claim-expired')
  })
})

describe('a new enrolment', () => {
  it('of a device that had a key ends the tokens it was given, and the key', async () => {
    expect(enrol(claimOf('wren'), keyOf(1))).toBe('ok')
    expect(store.identities.revokedBefore('wren')).toBeUndefined()
    clock.advanceTo(T0 + 1_000)
    expect(enrol(claimOf('wren', true), keyOf(2))).toBe('ok')
    expect(store.identities.revokedBefore('wren')).toBe(T0 + 1_000)
    expect([await token('wren', keyOf(1)), await token('wren', keyOf(2))]).toEqual(['device-revoked', 'ok'])
  })

  it('of a device that was imported with a long token ends that token', () => {
    store.devices.enrol({ name: 'wren', site: 'lab', board: 'board-a', tags: [] }, T0)
    clock.advanceTo(T0 + 1_000)
    expect(enrol(claimOf('wren'), keyOf(1))).toBe('ok')
    expect(store.identities.revokedBefore('wren')).toBe(T0 + 1_000)
  })
})

describe('a revocation', () => {
  it('ends the keys that were retired too: who stole the last may have those before it', async () => {
    expect(enrol(claimOf('wren'), keyOf(1))).toBe('ok')
    expect(rotate('wren', keyOf(1), keyOf(2))).toBe('ok')
    expect(await token('wren', keyOf(1))).toBe('unknown-key')
    expect(identities.revoke('wren', 'stolen', 'operator')).toMatchObject({ ok: true })
    const device = store.devices.byName('wren')
    expect(store.identities.keysOf(device?.id ?? 0).map(({ state }) => state)).toEqual(['revoked', 'revoked'])
    expect([await token('wren', keyOf(1)), await token('wren', keyOf(2))]).toEqual(['device-revoked', 'device-revoked'])
    expect(rotate('wren', keyOf(1), keyOf(3))).toBe('device-revoked')
  })
})
