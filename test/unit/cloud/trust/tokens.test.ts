import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import { describe, expect, it } from 'vitest'
import { openDatabase } from '../../../../cloud/store/database.ts'
import { MIGRATIONS } from '../../../../cloud/store/migrations.ts'
import { Store } from '../../../../cloud/store/store.ts'
import { TokenStore } from '../../../../cloud/store/token-store.ts'
import { ed25519FromSeed } from '../../../../cloud/trust/ed25519.ts'
import { createTokenIssuer } from '../../../../cloud/trust/tokens.ts'
import { ManualClock } from '../../../fixtures/cloud-world.ts'
import { T0 } from '../../../fixtures/synthetic-fleet.ts'

const DAY = 86_400_000
const seed = new Uint8Array(32).fill(4)
let count = 0
const random = { bytes: (length: number) => new Uint8Array(length).fill(count++) }

describe('a service token', () => {
  const said = { issuer: 'kinglet-cloud', audience: 'kinglet-cloud', role: 'operator', key: seed, expires: T0 + DAY }
  const all = { standing: () => 'good' as const, roleOf: () => 'operator' }
  /** Signed by the cloud's own key, with one word of it another's. */
  const signed = (change: Partial<typeof said>, jti = '0'.repeat(32)) => {
    const { issuer, audience, role, key, expires } = { ...said, ...change }
    return new SignJWT({ role })
      .setProtectedHeader({ alg: 'EdDSA' })
      .setSubject('operator-1')
      .setIssuer(issuer)
      .setJti(jti)
      .setAudience(audience)
      .setIssuedAt(T0 / 1000)
      .setExpirationTime(Math.floor(expires / 1000))
      .sign(ed25519FromSeed(key))
  }

  it('of this cloud is taken, and says who may do what until when', async () => {
    const issuer = await createTokenIssuer(seed, new ManualClock(), random, all)
    const answer = await issuer.verifyService(await signed({}))
    const value = { jti: '0'.repeat(32), subject: 'operator-1', role: 'operator', issuedMs: T0, expiresMs: T0 + DAY }
    expect(answer).toEqual({ ok: true, value })
  })

  it.each([
    ['another issuer', { issuer: 'another-cloud' }, 'token-invalid'],
    ['another audience: a device´s', { audience: 'kinglet-gateway' }, 'token-invalid'],
    ['another key', { key: new Uint8Array(32).fill(5) }, 'token-invalid'],
    ['an end that is long past', { expires: T0 - DAY }, 'token-expired'],
  ])('with %s is refused', async (_, change, code) => {
    const issuer = await createTokenIssuer(seed, new ManualClock(), random, all)
    expect(await issuer.verifyService(await signed(change))).toMatchObject({ ok: false, error: { code } })
  })

  it('may what it was given out for, whatever it says of itself, and nothing where that is no role of ours', async () => {
    let given = 'viewer'
    const issuer = await createTokenIssuer(seed, new ManualClock(), random, { ...all, roleOf: () => given })
    expect(await issuer.verifyService(await signed({ role: 'admin' }))).toMatchObject({ value: { role: 'viewer' } })
    given = 'root'
    expect(await issuer.verifyService(await signed({}))).toMatchObject({ error: { code: 'token-invalid' } })
  })

  it('of an operator, from before there were roles, may everything still; one that is minted now may what operators may', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'kinglet-roles-'))
    const before = openDatabase(join(dir, 'cloud.db'), T0, MIGRATIONS.slice(0, 24))
    const given = {
      jti: '0'.repeat(32),
      kind: 'operator' as const,
      subject: 'operator-1',
      issuedMs: T0,
      expiresMs: T0 + DAY,
    }
    new TokenStore(before).add(given)
    before.close()
    const store = new Store(join(dir, 'cloud.db'), T0)
    store.tokens.add({ ...given, jti: '1'.repeat(32) })
    const issuer = await createTokenIssuer(seed, new ManualClock(), random, store.tokens)
    expect(await issuer.verifyService(await signed({}))).toMatchObject({ value: { role: 'admin' } })
    expect(await issuer.verifyService(await signed({}, '1'.repeat(32)))).toMatchObject({ value: { role: 'operator' } })
    store.close()
    rmSync(dir, { recursive: true })
  })

  it('of before a revocation, or of its very millisecond, is refused; one of the next is taken', async () => {
    const store = new Store(':memory:', T0)
    const clock = new ManualClock(T0 + 0.5)
    const issuer = await createTokenIssuer(seed, clock, random, store.tokens)
    const given = async (subject: string) => {
      const minted = await issuer.mintService(subject, 'gateway', DAY)
      const { jti, issuedMs, expiresMs } = minted
      store.tokens.add({ jti, kind: 'gateway', subject, issuedMs, expiresMs })
      return minted.token
    }
    const minted = async (atMs: number) => {
      clock.advanceTo(atMs)
      return given('gateway-1')
    }
    const tokens = [await minted(T0 + 499), await minted(T0 + 500), await minted(T0 + 501)]
    store.tokens.revokeServices('gateway-1', T0 + 500)
    const answers = await Promise.all(tokens.map((token) => issuer.verifyService(token)))
    expect(answers.map(({ ok }) => ok)).toEqual([false, false, true])
    // Nobody else's.
    expect(await issuer.verifyService(await given('gateway-2'))).toMatchObject({ ok: true })
    store.close()
  })

  it('that somebody has signed with the seed by hand, and that was never given out, is refused', async () => {
    const store = new Store(':memory:', T0)
    const issuer = await createTokenIssuer(seed, new ManualClock(), random, store.tokens)
    const refused = { ok: false, error: { code: 'token-invalid', detail: 'the token was never given out' } }
    expect(await issuer.verifyService(await signed({}))).toMatchObject(refused)
    // The name of a device's token is none of a service's.
    const times = { issuedMs: T0, expiresMs: T0 + DAY }
    store.tokens.add({ jti: 'd'.repeat(32), kind: 'device', subject: 'operator-1', ...times })
    expect(await issuer.verifyService(await signed({}, 'd'.repeat(32)))).toMatchObject(refused)
    store.tokens.add({ jti: 'e'.repeat(32), kind: 'operator', subject: 'operator-1', ...times })
    expect(await issuer.verifyService(await signed({}, 'e'.repeat(32)))).toMatchObject({ ok: true })
    store.close()
  })

  it('is revoked with what it was renewed to, and on demand with what it has minted, and so on', async () => {
    const store = new Store(':memory:', T0)
    const add = (jti: string, subject: string, parent?: string) =>
      store.tokens.add({
        ...{ jti, kind: 'operator', subject, issuedMs: T0, expiresMs: T0 + DAY, ...(parent && { parent }) },
      })
    add('a', 'anna')
    add('a-renewed', 'anna', 'a')
    add('b', 'ben', 'a-renewed')
    add('c', 'carl', 'b')
    add('x', 'xenia')
    const good = () =>
      store.tokens
        .services('', 10)
        .filter(({ revokedMs }) => revokedMs === null)
        .map(({ jti }) => jti)
    expect(store.tokens.revokeToken('nobody', T0)).toBeUndefined()
    expect(store.tokens.revokeToken('a', T0 + 1)).toBe(2)
    expect(good()).toEqual(['b', 'c', 'x'])
    expect(['a', 'b', 'z'].map((jti) => store.tokens.standing(jti, 'anna', T0))).toEqual(['revoked', 'good', 'unknown'])
    expect(store.tokens.mintedStill('anna', T0 + 1)).toBe(1)
    expect(store.tokens.revokeMinted('anna', T0 + 2)).toBe(2)
    expect([good(), store.tokens.mintedStill('anna', T0 + 2)]).toEqual([['x'], 0])
    expect(store.tokens.services('', 10).find(({ jti }) => jti === 'c')).toMatchObject({ parentSubject: 'ben' })
    store.close()
  })

  it('of another key than the one of now is refused, also those that were given out', async () => {
    const store = new Store(':memory:', T0)
    const issuer = await createTokenIssuer(seed, new ManualClock(), random, store.tokens)
    const { jwks } = issuer
    expect(store.tokens.signedBy(issuer.kid, T0)).toBe(false)
    const { jti, issuedMs, expiresMs, token } = await issuer.mintService('operator-1', 'operator', DAY)
    store.tokens.add({ jti, kind: 'operator', subject: 'operator-1', issuedMs, expiresMs })
    expect(await issuer.verifyService(token)).toMatchObject({ ok: true })
    await issuer.rekey(new Uint8Array(32).fill(9))
    expect(await issuer.verifyService(token)).toMatchObject({ ok: false, error: { code: 'token-invalid' } })
    expect(jwks.keys.map(({ kid }) => kid)).toEqual([issuer.kid])
    expect([store.tokens.signedBy(issuer.kid, T0 + 5), store.tokens.signedBy(issuer.kid, T0 + 6)]).toEqual([
      true,
      false,
    ])
    expect(store.tokens.services('', 10)).toMatchObject([{ jti, revokedMs: T0 + 5 }])
    store.close()
  })
})
