import { createLocalJWKSet, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  admit,
  admitBearer,
  type ConnectClaim,
  maySubscribe,
  publishKind,
  type Session,
} from '../../../../gateway/broker/admission.ts'
import { WaitedClock } from '../../../fixtures/timers.ts'

/** A whole second */
const NOW_S = 1_700_000_000
const PREFIX = 'kinglet/v1/lab/d1/'
const CLAIMS = { sub: 'd1', aud: 'kinglet-gateway', site: 'lab', board: 'xG24', iat: NOW_S - 60, exp: NOW_S + 3_600 }

type Claims = Readonly<Record<string, unknown>>

let issuer: Awaited<ReturnType<typeof generateKeyPair>>
let stranger: Awaited<ReturnType<typeof generateKeyPair>>
let keys: { key: ReturnType<typeof createLocalJWKSet> }
beforeAll(async () => {
  issuer = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  stranger = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
  keys = { key: createLocalJWKSet({ keys: [{ ...(await exportJWK(issuer.publicKey)), kid: 'k1', alg: 'EdDSA' }] }) }
})

const tokenOf = (change: Claims = {}, { by = issuer, kid = 'k1' } = {}): Promise<string> => {
  const claims = Object.entries({ ...CLAIMS, ...change }).filter(([, value]) => value !== undefined)
  return new SignJWT(Object.fromEntries(claims)).setProtectedHeader({ alg: 'EdDSA', kid }).sign(by.privateKey)
}
const clockAt = (afterS: number) => new WaitedClock((NOW_S + afterS) * 1_000)
const codeOf = async (token: string | Promise<string>, atS = 0) => {
  const admitted = await admitBearer(await token, keys, clockAt(atS))
  return admitted.ok ? 'admitted' : admitted.error.code
}

describe('a token', () => {
  it('says who its bearer is and what he may do', async () => {
    expect(await admitBearer(await tokenOf(), keys, clockAt(0))).toEqual({
      ok: true,
      value: {
        site: 'lab',
        device: 'd1',
        board: 'xG24',
        prefix: PREFIX,
        // Five seconds of tolerance between the clocks.
        expiresMs: (NOW_S + 3_605) * 1_000,
        issuedMs: (NOW_S - 60) * 1_000,
        kid: 'k1',
      },
    })
    const unsaid = await admitBearer(await tokenOf({ iat: undefined }), keys, clockAt(0))
    expect(unsaid).toMatchObject({ ok: true, value: { issuedMs: undefined } })
  })

  it('is in date on the injected clock, for five seconds after it', async () => {
    const token = await tokenOf()
    expect(await codeOf(token, 3_604)).toBe('admitted')
    expect(await codeOf(token, 3_605)).toBe('token-expired')
    expect(await codeOf(tokenOf({ nbf: NOW_S + 5 }))).toBe('admitted')
    expect(await codeOf(tokenOf({ nbf: NOW_S + 6 }))).toBe('token-invalid')
  })

  it.each<[string, Claims]>([
    ['for another audience', { aud: 'kinglet-cloud' }],
    ['for no audience', { aud: undefined }],
    ['without a subject', { sub: undefined }],
    ['without an end', { exp: undefined }],
    ['without a site', { site: undefined }],
    ['without a board', { board: undefined }],
    ['of a device that is no id', { sub: 'd1/+' }],
    ['of a device of 65 characters', { sub: 'd'.repeat(65) }],
    ['of a site that is no id', { site: '#' }],
    ['of a site that is no text', { site: 7 }],
    ['of a board that is no name', { board: 'a board|x' }],
    ['of a board that is no text', { board: ['xG24'] }],
  ])('%s is invalid', async (_what, change) => {
    expect(await codeOf(tokenOf(change))).toBe('token-invalid')
  })

  it('of another issuer, of an unknown key, of another algorithm, or none at all is invalid', async () => {
    expect(await codeOf(tokenOf({}, { by: stranger }))).toBe('token-invalid')
    expect(await codeOf(tokenOf({}, { kid: 'k2' }))).toBe('token-invalid')
    const secret = new TextEncoder().encode('k'.repeat(32))
    const symmetric = await new SignJWT(CLAIMS).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(secret)
    expect(await codeOf(symmetric)).toBe('token-invalid')
    const [, payload] = (await tokenOf()).split('.')
    const none = Buffer.from('{"alg":"none"}').toString('base64url')
    expect(await codeOf(`${none}.${payload}.`)).toBe('token-invalid')
    expect(await codeOf('')).toBe('token-invalid')
  })

  it('of 2 048 characters is looked at, of one more it is not', async () => {
    const asked: string[] = []
    const key = async ({ kid }: { kid?: string | undefined }) => {
      asked.push(kid ?? '')
      return issuer.publicKey
    }
    const head = Buffer.from('{"alg":"EdDSA","kid":"k1"}').toString('base64url')
    const ofLength = (length: number) => `${head}.${'x'.repeat(length - head.length - 3)}.x`
    const admitted = (length: number) => admitBearer(ofLength(length), { key }, clockAt(0))
    expect(await admitted(2_049)).toMatchObject({ error: { code: 'token-invalid', detail: 'token of 2049 bytes' } })
    expect(asked).toEqual([])
    expect(await admitted(2_048)).toMatchObject({ error: { code: 'token-invalid' } })
    expect(asked).toEqual(['k1'])
  })

  it('that was revoked is refused', async () => {
    const questions: unknown[] = []
    const revocations = {
      refuses: (...question: [string, number | undefined]) => {
        questions.push(question)
        return true
      },
    }
    const admitted = await admitBearer(await tokenOf(), keys, clockAt(0), revocations)
    expect(admitted).toMatchObject({ error: { code: 'device-revoked' } })
    expect(questions).toEqual([['d1', (NOW_S - 60) * 1_000]])
    // Nobody is asked about a token that is no token.
    await admitBearer(await tokenOf({}, { by: stranger }), keys, clockAt(0), revocations)
    expect(questions).toHaveLength(1)
  })
})

describe('a connection', () => {
  const admitted = async (change: Partial<ConnectClaim> = {}) => {
    const password = Buffer.from(await tokenOf())
    const claim = { clientId: 'd1', username: 'd1', password, will: undefined, ...change }
    const result = await admit(claim, keys, clockAt(0))
    return result.ok ? result.value.expiresMs : result.error.code
  }
  const EXPIRES_MS = (NOW_S + 3_605) * 1_000

  it('is the bearer of the token, by name and by client id', async () => {
    expect(await admitted()).toBe(EXPIRES_MS)
    expect(await admitted({ username: 'd2' })).toBe('not-authorized')
    expect(await admitted({ clientId: 'd2' })).toBe('not-authorized')
    expect(await admitted({ username: undefined })).toBe('token-invalid')
    expect(await admitted({ password: undefined })).toBe('token-invalid')
    expect(await admitted({ password: Buffer.from('no token') })).toBe('token-invalid')
  })

  it('has a certificate of the same device where TLS asks for one, and ends with it', async () => {
    const validToMs = EXPIRES_MS - 1
    expect(await admitted({ certified: { name: 'd1', validToMs } })).toBe(validToMs)
    expect(await admitted({ certified: { name: 'd1', validToMs: EXPIRES_MS + 1 } })).toBe(EXPIRES_MS)
    expect(await admitted({ certified: { name: 'd2', validToMs } })).toBe('not-authorized')
    expect(await admitted({ certified: { name: '', validToMs } })).toBe('not-authorized')
  })

  it('may have a will where it may publish, and none that stays', async () => {
    expect(await admitted({ will: { topic: `${PREFIX}event` } })).toBe(EXPIRES_MS)
    expect(await admitted({ will: { topic: `${PREFIX}event`, retain: false } })).toBe(EXPIRES_MS)
    expect(await admitted({ will: { topic: `${PREFIX}event`, retain: true } })).toBe('bad-topic')
    expect(await admitted({ will: { topic: 'kinglet/v1/lab/d2/event' } })).toBe('bad-topic')
    expect(await admitted({ will: { topic: `${PREFIX}assign` } })).toBe('bad-topic')
  })
})

describe('the rights of a session', () => {
  const session = { prefix: PREFIX } as Session

  it.each(['report', 'wake', 'event', 'get', 'meta-get'])('it publishes %s', (kind) => {
    expect(publishKind(session, PREFIX + kind)).toBe(kind)
  })

  it.each(['assign', 'verdict', 'block', 'meta', '', 'report/', 'report/x', 'Report', '#'])(
    'it does not publish %j',
    (kind) => {
      expect(publishKind(session, PREFIX + kind)).toBeUndefined()
    },
  )

  it('nor anything under another name', () => {
    for (const topic of ['kinglet/v1/lab/d10/report', 'kinglet/v1/other/d1/report', 'report', `x${PREFIX}report`, '']) {
      expect(publishKind(session, topic)).toBeUndefined()
    }
  })

  it.each(['#', 'assign', 'verdict', 'meta', 'block/+', `block/${'ab'.repeat(32)}`])(
    'it subscribes to %s',
    (filter) => {
      expect(maySubscribe(session, PREFIX + filter)).toBe(true)
    },
  )

  it.each([
    '',
    '+',
    '+/x',
    'block/#',
    'block/',
    `block/${'AB'.repeat(32)}`,
    `block/${'ab'.repeat(31)}`,
    'block/+/x',
    'assign/+',
    'assign#',
    '#/x',
  ])('it does not subscribe to %j', (filter) => {
    expect(maySubscribe(session, PREFIX + filter)).toBe(false)
  })

  it('nor to anything of others', () => {
    for (const filter of ['#', 'kinglet/#', 'kinglet/v1/lab/+/assign', 'kinglet/v1/lab/d10/assign', '$SYS/#']) {
      expect(maySubscribe(session, filter)).toBe(false)
    }
  })
})
