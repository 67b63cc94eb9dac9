import nacl from 'tweetnacl'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeEvent } from '../../../contract/attested-event.ts'
import { bytesToHex, hexToBytes } from '../../../contract/bytes.ts'
import { enrolmentMessage, rotationMessage, tokenMessage } from '../../../contract/device-proof.ts'
import { EVENT_CODES, type EventCode } from '../../../contract/messages.ts'
import type { EventRow } from '../../../contract/uplink.ts'
import { layoutOf } from '../../../device/core/flash/flash-layout.ts'
import { activatePendingKey, deviceKey } from '../../../device/core/flash/identity.ts'
import { gatewayToken } from '../../fixtures/gateway-token.ts'
import { IdentityWorld, secureRandom } from '../../fixtures/identity-world.ts'

const HOUR = 3_600_000
let world: IdentityWorld
beforeAll(async () => {
  world = await new IdentityWorld().start()
})
afterAll(() => world.stop())

const post = (path: string, body: unknown) => world.call('POST', path, body, null)
const newKey = () => {
  const seed = secureRandom.bytes(32)
  return { seed, ...deviceKey(seed) }
}

/** An enrolment as a device makes it, for the tests to bend. */
async function enrolment(claim: { claim: string; secret: string; device: string }, key = newKey(), challenge?: string) {
  const given = challenge ?? (await world.challenge())
  const publicKey = key.public.publicKey
  const message = enrolmentMessage({
    claim: claim.claim,
    device: claim.device,
    publicKey: hexToBytes(publicKey),
    challenge: given,
  })
  return {
    ...{ claim: claim.claim, device: claim.device, publicKey, challenge: given },
    claimSignature: bytesToHex(deviceKey(hexToBytes(claim.secret)).sign(message)),
    signature: bytesToHex(key.sign(message)),
  }
}

describe('enrolment', () => {
  it('makes the key on the device, and the cloud knows its public half', async () => {
    const device = world.device()
    const enrolled = await device.enrol(await world.claim('wren-1', { tags: ['yard'] }))
    expect(enrolled).toMatchObject({ ok: true })
    const key = deviceKey(device.identity!.active!)
    expect(device.identity).toMatchObject({ device: 'wren-1', site: 'lab', board: 'board-a', pending: undefined })
    const { json } = await world.call('GET', '/v1/devices/wren-1')
    expect(json).toMatchObject({ attested: true, key: { keyId: key.public.keyId }, tags: ['yard'], revokedMs: null })
  })

  it('burns its claim: another key is refused, and of two at once one is', async () => {
    const claim = await world.claim('wren-2')
    const bodies = await Promise.all([1, 2, 3, 4].map(() => enrolment(claim)))
    const answers = await Promise.all(bodies.map((body) => post('/v1/enrolments', body)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409, 409])
    const late = await world.device().enrol(claim)
    expect(late).toMatchObject({ ok: false, error: { code: 'claim-used' } })
  })

  it('goes on after an answer that was lost: the key in flash is the one the cloud has', async () => {
    const claim = await world.claim('wren-3')
    const device = world.device()
    const post = device.client as unknown as { enrol: unknown }
    expect(post.enrol).toBeDefined()
    // The request arrives, its answer does not.
    const real = globalThis.fetch
    globalThis.fetch = async (input, init) => {
      const response = await real(input, init)
      if (String(input).endsWith('/v1/enrolments')) throw new TypeError('connection reset')
      return response
    }
    const lost = await device.enrol(claim).finally(() => {
      globalThis.fetch = real
    })
    expect(lost).toMatchObject({ ok: false, error: { code: 'unavailable' } })
    const pending = device.identity!.pending!
    expect(device.identity!.active).toBeUndefined()
    expect(await device.enrol(claim)).toMatchObject({ ok: true })
    expect(device.identity!.active).toEqual(pending)
    expect(await device.token()).toMatchObject({ ok: true, value: { expiresInSeconds: 3_600 } })
  })

  it('refuses an expired claim to its holder and says nothing of it to others', async () => {
    const claim = await world.claim('wren-4', { ttlSeconds: 60 })
    world.clock.aheadMs += 61_000
    expect((await post('/v1/enrolments', await enrolment(claim))).json.code).toBe('claim-expired')
    const guessed = { ...claim, secret: '11'.repeat(32) }
    expect((await post('/v1/enrolments', await enrolment(guessed))).json.code).toBe('claim-invalid')
    const unheardOf = { ...claim, claim: '22'.repeat(8) }
    expect((await post('/v1/enrolments', await enrolment(unheardOf))).json.code).toBe('claim-invalid')
  })

  it('cannot be replayed, redirected to another device, or turned to another key by who carries it', async () => {
    const claim = await world.claim('wren-5')
    const body = await enrolment(claim)
    const mallory = newKey()
    const swapped = { ...body, publicKey: mallory.public.publicKey }
    expect((await post('/v1/enrolments', swapped)).json.code).toBe('claim-invalid')
    // Signed by the thief's own key: the claim's signature is what is missing.
    const { claim: id, device, challenge } = body
    const stolen = enrolmentMessage({ claim: id, device, publicKey: hexToBytes(mallory.public.publicKey), challenge })
    const own = { ...swapped, signature: bytesToHex(mallory.sign(stolen)) }
    expect((await post('/v1/enrolments', own)).json.code).toBe('claim-invalid')
    expect((await post('/v1/enrolments', { ...body, device: 'wren-1' })).json.code).toBe('claim-invalid')
    // The claim's holder, without the device's key.
    const unproven = { ...body, signature: body.claimSignature }
    expect((await post('/v1/enrolments', unproven)).json.code).toBe('bad-signature')
    expect((await post('/v1/enrolments', { ...body, challenge: '00'.repeat(38) })).json.code).toBe('bad-signature')
    expect((await post('/v1/enrolments', body)).status).toBe(200)
    expect((await post('/v1/enrolments', body)).json.code).toBe('replayed')
    world.clock.aheadMs += 6 * 60_000
    expect((await post('/v1/enrolments', body)).json.code).toBe('expired')
  })

  it('does not take a key that another device has, or had', async () => {
    const key = newKey()
    expect((await post('/v1/enrolments', await enrolment(await world.claim('wren-6'), key))).status).toBe(200)
    const again = await post('/v1/enrolments', await enrolment(await world.claim('wren-7'), key))
    expect(again.json.code).toBe('conflict')
  })

  it('needs a word to replace a key, and ends the old one then', async () => {
    const device = world.device()
    await device.enrol(await world.claim('wren-8'))
    await expect(world.claim('wren-8')).rejects.toThrow(/has a key/)
    const next = world.device()
    expect(await next.enrol(await world.claim('wren-8', { replace: true }))).toMatchObject({ ok: true })
    expect(await device.token()).toMatchObject({ ok: false, error: { code: 'device-revoked' } })
    expect(await next.token()).toMatchObject({ ok: true })
  })

  it('keeps of a claim what cannot make one', async () => {
    const claim = await world.claim('wren-9')
    const { readFileSync } = await import('node:fs')
    const files = ['cloud.db', 'cloud.db-wal'].map((name) => readFileSync(`${world.dir}/cloud/${name}`))
    for (const file of files) {
      expect(file.includes(claim.secret)).toBe(false)
      expect(file.includes(Buffer.from(claim.secret, 'hex'))).toBe(false)
    }
  })
})

describe('tokens', () => {
  it('are for an hour, for one device, bound to its key, and need neither clock nor trust in who carries them', async () => {
    const device = world.device()
    await device.enrol(await world.claim('robin-1'))
    const granted = await device.token()
    if (!granted.ok) throw new Error(granted.error.detail)
    const claims = JSON.parse(Buffer.from(granted.value.token.split('.')[1]!, 'base64url').toString())
    expect(claims).toMatchObject({ sub: 'robin-1', site: 'lab', board: 'board-a', aud: 'kinglet-gateway' })
    expect(claims.cnf).toEqual({ kid: deviceKey(device.identity!.active!).public.keyId })
    expect(claims.exp - claims.iat).toBeGreaterThan(3_598)
    expect(claims.exp - claims.iat).toBeLessThanOrEqual(3_600)
  })

  it('refuse a stranger, another device, a replay and a challenge that is not ours', async () => {
    const [a, b] = [world.device(), world.device()]
    await a.enrol(await world.claim('robin-2'))
    await b.enrol(await world.claim('robin-3'))
    const key = deviceKey(a.identity!.active!)
    const { keyId } = key.public
    const challenge = await world.challenge()
    const body = { keyId, challenge, signature: bytesToHex(key.sign(tokenMessage('robin-2', keyId, challenge))) }
    expect((await post('/v1/devices/robin-3/token', body)).json.code).toBe('unknown-key')
    const other = deviceKey(b.identity!.active!)
    const forged = { ...body, signature: bytesToHex(other.sign(tokenMessage('robin-2', keyId, challenge))) }
    expect((await post('/v1/devices/robin-2/token', forged)).json.code).toBe('bad-signature')
    // A signature for another purpose is not one for a token.
    const publicKey = hexToBytes(other.public.publicKey)
    const turn = rotationMessage({ device: 'robin-2', formerKeyId: keyId, publicKey, challenge })
    const purpose = { ...body, signature: bytesToHex(key.sign(turn)) }
    expect((await post('/v1/devices/robin-2/token', purpose)).json.code).toBe('bad-signature')
    expect((await post('/v1/devices/robin-2/token', body)).status).toBe(200)
    expect((await post('/v1/devices/robin-2/token', body)).json.code).toBe('replayed')
  })

  it('end at the device’s revocation, and come back with a new claim', async () => {
    const device = world.device()
    await device.enrol(await world.claim('robin-4'))
    const revoked = await world.call('POST', '/v1/devices/robin-4/revoke', { reason: 'stolen' })
    expect(revoked.status).toBe(200)
    expect(await device.token()).toMatchObject({ ok: false, error: { code: 'device-revoked' } })
    expect(await device.rotate()).toMatchObject({ ok: false, error: { code: 'device-revoked' } })
    expect((await world.call('GET', '/v1/devices/robin-4')).json).toMatchObject({ attested: false, key: null })
    const token = await gatewayToken(world.cloud, 'gateway-1', ['lab'])
    const feed = (await world.call('GET', '/v1/revocations', undefined, token)).json
    expect(feed.items).toContainEqual({ device: 'robin-4', beforeMs: revoked.json.beforeMs })
    expect((await world.call('GET', `/v1/revocations?after=${feed.cursor}`, undefined, token)).json.items).toEqual([])
    const again = world.device()
    expect(await again.enrol(await world.claim('robin-4'))).toMatchObject({ ok: true })
    expect(await again.token()).toMatchObject({ ok: true })
  })
})

describe('rotation', () => {
  it('replaces the key, and survives an answer that was lost', async () => {
    const device = world.device()
    await device.enrol(await world.claim('finch-1'))
    const first = device.identity!.active!
    const real = globalThis.fetch
    globalThis.fetch = async (input, init) => {
      const response = await real(input, init)
      if (String(input).endsWith('/key')) throw new TypeError('connection reset')
      return response
    }
    expect(await device.rotate().finally(() => (globalThis.fetch = real))).toMatchObject({ ok: false })
    // The power goes here: both keys are in flash, and the cloud has the new one.
    expect(device.identity).toMatchObject({ active: first, pending: expect.any(Uint8Array) })
    const { pending } = device.identity!
    expect(await device.token()).toMatchObject({ ok: false, error: { code: 'unknown-key' } })
    expect(await device.rotate()).toMatchObject({ ok: true })
    expect(device.identity).toMatchObject({ active: pending, pending: undefined })
    expect(await device.token()).toMatchObject({ ok: true })
    expect(await device.client.token('finch-1', first)).toMatchObject({ ok: false, error: { code: 'unknown-key' } })
  })

  it('that was broken off is ended by the next token, whichever key the cloud has', async () => {
    const device = world.device()
    await device.enrol(await world.claim('finch-4'))
    const layout = layoutOf(device.flash)
    if (!layout.ok) throw new Error()
    const real = globalThis.fetch
    /** The rotation's answer is lost, or its request. */
    const broken = async (arrives: boolean) => {
      globalThis.fetch = async (input, init) => {
        const lost = String(input).endsWith('/key')
        if (lost && !arrives) throw new TypeError('no route')
        const response = await real(input, init)
        if (lost) throw new TypeError('connection reset')
        return response
      }
      await device.rotate().finally(() => {
        globalThis.fetch = real
      })
    }
    await broken(false)
    const { active, pending } = device.identity!
    expect(await device.client.tokenOf(device.flash, layout.value)).toMatchObject({ ok: true })
    expect(device.identity).toMatchObject({ active, pending })
    await broken(true)
    expect(await device.client.tokenOf(device.flash, layout.value)).toMatchObject({ ok: true })
    expect(device.identity).toMatchObject({ active: pending, pending: undefined })
  })

  it('needs both keys, and takes no key of another device', async () => {
    const [device, other] = [world.device(), world.device()]
    await device.enrol(await world.claim('finch-2'))
    await other.enrol(await world.claim('finch-3'))
    const former = deviceKey(device.identity!.active!)
    const attempt = async (
      next: { sign: (m: Uint8Array) => Uint8Array; public: { publicKey: string } },
      by = former,
    ) => {
      const challenge = await world.challenge()
      const { publicKey } = next.public
      const formerKeyId = former.public.keyId
      const given = { device: 'finch-2', formerKeyId, publicKey: hexToBytes(publicKey), challenge }
      const message = rotationMessage(given)
      const body = {
        ...{ formerKeyId, publicKey, challenge },
        formerSignature: bytesToHex(by.sign(message)),
        signature: bytesToHex(next.sign(message)),
      }
      return (await post('/v1/devices/finch-2/key', body)).json.code
    }
    const next = newKey()
    expect(await attempt(next, deviceKey(other.identity!.active!))).toBe('bad-signature')
    expect(await attempt({ ...next, sign: former.sign })).toBe('bad-signature')
    expect(await attempt(deviceKey(other.identity!.active!))).toBe('conflict')
    expect(await attempt(next)).toBeUndefined()
  })
})

describe('failed proofs', () => {
  it('are bounded by source', async () => {
    const claim = await world.claim('dunnock-1')
    const guess = { ...claim, secret: '33'.repeat(32) }
    world.clock.aheadMs += HOUR
    const codes: string[] = []
    for (let i = 0; i < 25; i++) codes.push((await post('/v1/enrolments', await enrolment(guess))).json.code)
    expect(codes.filter((code) => code === 'claim-invalid').length).toBeGreaterThanOrEqual(20)
    expect(codes.filter((code) => code === 'claim-invalid').length).toBeLessThanOrEqual(22)
    const held = await post('/v1/enrolments', await enrolment(claim))
    expect(held).toMatchObject({ status: 429, json: { code: 'rate-limited' } })
    expect(Number(held.headers.get('retry-after'))).toBeGreaterThan(0)
    world.clock.aheadMs += 60_000
    expect((await post('/v1/enrolments', await enrolment(claim))).status).toBe(200)
  })
})

describe('signed events', () => {
  const MODEL = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)
  const row = (device: string, boot: number, seq: number, code: EventCode, sign?: (m: Uint8Array) => Uint8Array) => {
    const event = { boot, seq, wallMs: 0, code: EVENT_CODES.indexOf(code), model: MODEL, assignmentSeq: 3 }
    const made: EventRow = {
      ...{ site: 'lab', device, boot, seq, wallMs: 0, receivedMs: world.clock.wallMs(), code },
      ...{ model: bytesToHex(MODEL), assignmentSeq: 3 },
      ...(sign && { signed: bytesToHex(encodeEvent(device, { ...event, securityCounter: 1 }, sign)) }),
    }
    return made
  }
  const ingest = async (...events: EventRow[]) => {
    const token = await gatewayToken(world.cloud, 'gateway-1', ['lab'])
    const batch = { v: 1, gateway: 'gateway-1', reports: [], verdicts: [], aggregates: [], events }
    const { status } = await world.call('POST', '/v1/ingest', batch, token)
    expect(status).toBe(200)
  }
  const runOf = async (device: string) => (await world.call('GET', `/v1/devices/${device}`)).json.attestedRun
  const running = { model: bytesToHex(MODEL), assignmentSeq: 3 }

  it('are believed from the device, and from nobody else', async () => {
    const device = world.device()
    await device.enrol(await world.claim('tit-1'))
    const key = deviceKey(device.identity!.active!)
    const stranger = newKey()
    // What a gateway can make up: nothing signed, another key, another device's word, another content around it.
    const elsewhere = row('tit-2', 5, 1, 'install-confirmed', key.sign)
    await ingest(
      row('tit-1', 5, 1, 'install-confirmed'),
      row('tit-1', 5, 2, 'install-confirmed', stranger.sign),
      { ...row('tit-1', 5, 3, 'install-confirmed', key.sign), model: 'ff'.repeat(8) },
      { ...row('tit-1', 5, 4, 'install-confirmed', key.sign), boot: 6 },
      // It would come after every boot of the device, or long before its time.
      { ...row('tit-1', 5, 7, 'install-confirmed', key.sign), incarnation: 9 },
      { ...row('tit-1', 5, 8, 'install-confirmed', key.sign), uptimeMs: 5 },
      { ...row('tit-1', 5, 5, 'reverted', key.sign), code: 'install-confirmed' },
      { ...elsewhere, device: 'tit-1' },
      { ...row('tit-1', 5, 6, 'install-confirmed', key.sign), signed: 'a0' },
    )
    expect(await runOf('tit-1')).toBeNull()
    // The device's own word, after the forgery of the same identity.
    await ingest(row('tit-1', 5, 1, 'install-confirmed', key.sign))
    expect(await runOf('tit-1')).toMatchObject(running)
    // A replay says the same again.
    await ingest(row('tit-1', 5, 1, 'install-confirmed', key.sign))
    expect(await runOf('tit-1')).toMatchObject(running)
    // And no forgery takes it back.
    await ingest({ ...row('tit-1', 5, 1, 'reverted'), model: 'ee'.repeat(8) })
    expect(await runOf('tit-1')).toMatchObject(running)
  })

  it('of a key that was replaced are believed for a week, of one that was revoked not at all', async () => {
    const device = world.device()
    await device.enrol(await world.claim('tit-3'))
    const old = deviceKey(device.identity!.active!)
    await device.rotate()
    await ingest(row('tit-3', 1, 0, 'booted', old.sign))
    expect(await runOf('tit-3')).toMatchObject(running)
    const late = row('tit-3', 2, 0, 'booted', old.sign)
    await ingest({ ...late, receivedMs: late.receivedMs + 8 * 24 * HOUR })
    expect((await runOf('tit-3')).atMs).toBeLessThan(late.receivedMs + HOUR)
    await world.call('POST', '/v1/devices/tit-3/revoke', { reason: 'lost' })
    await ingest({ ...row('tit-3', 3, 0, 'booted', deviceKey(device.identity!.active!).sign), model: running.model })
    expect((await runOf('tit-3')).atMs).toBeLessThan(late.receivedMs + HOUR)
  })

  it('are not asked of a device without a key, which says that it is taken at its gateway’s word', async () => {
    await world.call('POST', '/v1/devices', [{ device: 'tit-4', site: 'lab', board: 'board-a' }])
    await ingest(row('tit-4', 1, 0, 'install-confirmed'))
    expect((await world.call('GET', '/v1/devices/tit-4')).json).toMatchObject({ attested: false, attestedRun: null })
  })
})

describe('import', () => {
  it('takes public keys, and gives a long token only where it is told how long', async () => {
    const [a, b] = [newKey(), newKey()]
    const place = { site: 'lab', board: 'board-a' }
    const rows = [
      { device: 'crow-1', ...place, publicKey: a.public.publicKey },
      { device: 'crow-2', ...place, publicKey: b.public.publicKey, ttlSeconds: 7_200 },
      { device: 'crow-3', ...place },
    ]
    const { json } = await world.call('POST', '/v1/devices', rows)
    expect(json.devices[0]).toMatchObject({ token: null, expiresMs: null })
    expect(json.devices[1].expiresMs - world.clock.wallMs()).toBeLessThanOrEqual(7_200_000)
    expect(json.devices[2].expiresMs - world.clock.wallMs()).toBeGreaterThan(364 * 24 * HOUR)
    expect(await world.device().client.token('crow-1', a.seed)).toMatchObject({ ok: true })
    expect((await world.call('POST', '/v1/devices', rows)).status).toBe(200)
    const swapped = [{ device: 'crow-1', ...place, publicKey: b.public.publicKey }]
    expect((await world.call('POST', '/v1/devices', swapped)).json.code).toBe('conflict')
  })
})

describe('what is refused before it is looked at', () => {
  it('bodies that are too long, fields that are none, and routes without their role', async () => {
    expect((await post('/v1/enrolments', { fill: 'x'.repeat(5_000) })).status).toBe(413)
    expect((await post('/v1/enrolments', { claim: '00' })).status).toBe(400)
    expect((await post('/v1/devices/wren-1/token', { keyId: 'zz' })).status).toBe(400)
    expect((await post('/v1/claims', { site: 'lab', board: 'b' })).status).toBe(401)
    expect((await post('/v1/devices/wren-1/revoke', { reason: 'x' })).status).toBe(401)
    expect((await world.call('GET', '/v1/revocations', undefined, null)).status).toBe(401)
    expect((await post('/v1/notices', {})).status).toBe(401)
  })
})

it('a confirmed key is active only if it is the one that was pending', async () => {
  const device = world.device()
  await device.enrol(await world.claim('owl-1'))
  const before = device.identity
  const layout = layoutOf(device.flash)
  if (!layout.ok) throw new Error()
  expect(activatePendingKey(device.flash, layout.value, new Uint8Array(32))).toMatchObject({ ok: true })
  expect(device.identity).toEqual(before)
  expect(nacl.sign.keyPair.fromSeed(before!.active!).publicKey).toHaveLength(32)
})
