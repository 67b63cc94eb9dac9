import { errors, exportJWK, generateKeyPair, type JSONWebKeySet, jwtVerify, SignJWT } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { contractError } from '../../../../contract/errors.ts'
import { err, ok } from '../../../../contract/result.ts'
import { KeySource } from '../../../../gateway/broker/key-source.ts'
import type { CloudClient } from '../../../../gateway/cloud-link/cloud-client.ts'
import { notedLog, WaitedClock } from '../../../fixtures/timers.ts'

const MINUTE = 60_000
interface Issuer {
  readonly jwks: JSONWebKeySet
  token(): Promise<string>
}
const issuerOf = async (kid: string): Promise<Issuer> => {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  return {
    jwks: { keys: [{ ...(await exportJWK(publicKey)), kid }] },
    token: () => new SignJWT({}).setProtectedHeader({ alg: 'EdDSA', kid }).sign(privateKey),
  }
}
let first: Issuer
let second: Issuer
beforeAll(async () => {
  first = await issuerOf('k1')
  second = await issuerOf('k2')
})

function world(stored?: Issuer, given?: Issuer, withCloud = true) {
  const cloud = { says: undefined as unknown, asked: 0 }
  const client = {
    getJson: async (path: string) => {
      expect(path).toBe('/v1/keys')
      cloud.asked++
      if (cloud.says === undefined) return err({ ...contractError('unavailable', 'away'), status: undefined })
      return ok(cloud.says)
    },
  } as Partial<CloudClient> as CloudClient
  const clock = new WaitedClock()
  const logger = notedLog()
  const kept: string[] = []
  const keeping = { fails: false }
  const keep = async (jwks: string) => {
    if (keeping.fails) throw new Error('disk full')
    kept.push(jwks)
  }
  const source = new KeySource(
    withCloud ? client : undefined,
    stored && JSON.stringify(stored.jwks),
    keep,
    clock,
    logger,
    given?.jwks,
  )
  /** Whether a token of this issuer is verified. */
  const knows = async ({ token }: Issuer) => {
    try {
      await jwtVerify(await token(), source.key)
      return true
    } catch (cause) {
      if (cause instanceof errors.JWKSNoMatchingKey) return false
      throw cause
    }
  }
  return { clock, cloud, kept, keeping, knows, logger, source }
}

describe('keys', () => {
  it('that are given are never asked for', async () => {
    const { cloud, knows } = world(undefined, first, false)
    expect([await knows(first), await knows(second)]).toEqual([true, false])
    expect(cloud.asked).toBe(0)
  })

  it('that were kept hold in the absence of the cloud; those that are given go before them', async () => {
    const { knows } = world(first)
    expect([await knows(first), await knows(second)]).toEqual([true, false])
    expect(await world(first, second).knows(second)).toBe(true)
  })

  it('are fetched when the first device comes, and kept', async () => {
    const { cloud, kept, knows } = world()
    cloud.says = { jwks: first.jwks }
    expect(await knows(first)).toBe(true)
    expect(await knows(first)).toBe(true)
    expect(cloud.asked).toBe(1)
    expect(kept.map((text) => JSON.parse(text) as unknown)).toEqual([first.jwks])
  })

  it('of a rotation are fetched for the first token of the new one', async () => {
    const { cloud, knows } = world(first)
    cloud.says = { jwks: { keys: [...first.jwks.keys, ...second.jwks.keys] } }
    expect([await knows(second), await knows(first)]).toEqual([true, true])
    expect(cloud.asked).toBe(1)
  })
})

describe('while the gateway runs', () => {
  it('keys are asked for in turns, and at once when its own token is refused; who comes in by one is told when it is gone', async () => {
    const { clock, cloud, knows, source } = world(first)
    cloud.says = { jwks: first.jwks }
    let changes = 0
    source.start(MINUTE / 2, () => changes++)
    const turn = async () => {
      await clock.waits()
      clock.end()
      await clock.waits()
    }
    for (let i = 0; i < 3; i++) await turn()
    expect([cloud.asked, changes, source.has('k1'), source.has(undefined)]).toEqual([3, 0, true, false])
    cloud.says = { jwks: second.jwks }
    clock.nowMs += 5_000
    source.refused()
    source.refused()
    await source.refresh()
    expect([cloud.asked, changes, source.has('k1'), source.has('k2')]).toEqual([4, 1, false, true])
    expect([await knows(first), await knows(second)]).toEqual([false, true])
    clock.nowMs += 4_999
    source.refused()
    await source.refresh()
    expect(cloud.asked).toBe(4)
    source.close()
    expect(clock.waiting).toBe(0)
  })
})

describe('the cloud', () => {
  it('is asked once a minute at most, whatever strangers send', async () => {
    const { clock, cloud, knows } = world(first)
    cloud.says = { jwks: first.jwks }
    for (let i = 0; i < 3; i++) expect(await knows(second)).toBe(false)
    clock.nowMs = MINUTE - 1
    await knows(second)
    expect(cloud.asked).toBe(1)
    clock.nowMs = MINUTE
    cloud.says = { jwks: second.jwks }
    expect(await knows(second)).toBe(true)
    expect(cloud.asked).toBe(2)
  })

  it('is asked once by all that ask at the same time', async () => {
    const { cloud, knows, source } = world()
    cloud.says = { jwks: first.jwks }
    await Promise.all([source.refresh(), source.refresh(), source.refresh()])
    expect([cloud.asked, await knows(first)]).toEqual([1, true])
  })

  it('that is away is asked again in a minute where there are keys, at once where there are none', async () => {
    const held = world(first)
    await held.knows(second)
    await held.knows(second)
    expect([held.cloud.asked, await held.knows(first)]).toEqual([1, true])
    const empty = world()
    await empty.knows(first)
    await empty.knows(first)
    expect(empty.cloud.asked).toBe(2)
    expect(empty.logger.lines).toEqual(new Array(2).fill('warn: device keys could not be fetched'))
    empty.cloud.says = { jwks: first.jwks }
    expect(await empty.knows(first)).toBe(true)
  })

  it.each<[string, unknown]>([
    ['nothing', null],
    ['no list', { jwks: {} }],
    ['a symmetric key', { jwks: { keys: [{ kty: 'oct', k: 'c2VjcmV0' }] } }],
    ['a key of another curve', { jwks: { keys: [{ kty: 'OKP', crv: 'X25519', x: 'AAAA' }] } }],
    ['too many keys', { jwks: { keys: new Array(65).fill({ kty: 'OKP', crv: 'Ed25519', x: 'AAAA' }) } }],
  ])('that says %s leaves the old ones in place', async (_what, says) => {
    const { cloud, kept, knows, logger } = world(first)
    cloud.says = says
    expect([await knows(second), await knows(first)]).toEqual([false, true])
    expect(kept).toEqual([])
    expect(logger.lines).toEqual(['warn: the cloud sent no usable device keys'])
  })

  it('has said keys that hold though they cannot be kept', async () => {
    const { cloud, keeping, knows, logger } = world()
    keeping.fails = true
    cloud.says = { jwks: first.jwks }
    expect(await knows(first)).toBe(true)
    expect(logger.lines).toEqual(['error: device keys could not be kept'])
  })
})
