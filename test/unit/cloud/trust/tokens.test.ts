import { SignJWT } from 'jose'
import { describe, expect, it } from 'vitest'
import { Store } from '../../../../cloud/store/store.ts'
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
  /** Signed by the cloud's own key, with one word of it another's. */
  const signed = (change: Partial<typeof said>) => {
    const { issuer, audience, role, key, expires } = { ...said, ...change }
    return new SignJWT({ role })
      .setProtectedHeader({ alg: 'EdDSA' })
      .setSubject('operator-1')
      .setIssuer(issuer)
      .setAudience(audience)
      .setIssuedAt(T0 / 1000)
      .setExpirationTime(Math.floor(expires / 1000))
      .sign(ed25519FromSeed(key))
  }

  it('of this cloud is taken, and says who may do what until when', async () => {
    const issuer = await createTokenIssuer(seed, new ManualClock(), random)
    const answer = await issuer.verifyService(await signed({}))
    const value = { subject: 'operator-1', role: 'operator', issuedMs: T0, expiresMs: T0 + DAY }
    expect(answer).toEqual({ ok: true, value })
  })

  it.each([
    ['another issuer', { issuer: 'another-cloud' }, 'token-invalid'],
    ['another audience: a device´s', { audience: 'kinglet-gateway' }, 'token-invalid'],
    ['another key', { key: new Uint8Array(32).fill(5) }, 'token-invalid'],
    ['no role of ours', { role: 'root' }, 'token-invalid'],
    ['an end that is long past', { expires: T0 - DAY }, 'token-expired'],
  ])('with %s is refused', async (_, change, code) => {
    const issuer = await createTokenIssuer(seed, new ManualClock(), random)
    expect(await issuer.verifyService(await signed(change))).toMatchObject({ ok: false, error: { code } })
  })

  it('of before a revocation, or of its very millisecond, is refused; one of the next is taken', async () => {
    const store = new Store(':memory:', T0)
    const clock = new ManualClock(T0 + 0.5)
    const issuer = await createTokenIssuer(seed, clock, random, store.tokens)
    const minted = async (atMs: number) => {
      clock.advanceTo(atMs)
      return (await issuer.mintService('gateway-1', 'gateway', DAY)).token
    }
    const tokens = [await minted(T0 + 499), await minted(T0 + 500), await minted(T0 + 501)]
    store.tokens.revokeServices('gateway-1', T0 + 500)
    const answers = await Promise.all(tokens.map((token) => issuer.verifyService(token)))
    expect(answers.map(({ ok }) => ok)).toEqual([false, false, true])
    // Nobody else's.
    const { token } = await issuer.mintService('gateway-2', 'gateway', DAY)
    expect(await issuer.verifyService(token)).toMatchObject({ ok: true })
    store.close()
  })
})
