import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { contractError } from '../../../../contract/errors.ts'
import { err, ok } from '../../../../contract/result.ts'
import type { GatewayIdentity } from '../../../../gateway/cloud-link/gateway-identity.ts'
import { KeyedToken } from '../../../../gateway/cloud-link/keyed-token.ts'
import { MessageCounters } from '../../../../gateway/message-counters.ts'
import { ManualClock } from '../../../fixtures/cloud-world.ts'

/** A token of a cloud that gives one when it is told to, and when it was asked, in seconds. */
async function world() {
  const clock = new ManualClock()
  const asked: number[] = []
  const cloud = { gives: false }
  const identity = {
    keepToOwner: () => undefined,
    token: () => {
      asked.push(clock.monotonicMs() / 1_000)
      const granted = { token: `token-${asked.length}`, expiresInSeconds: 3_600 }
      return Promise.resolve(cloud.gives ? ok(granted) : err(contractError('unavailable', 'no cloud')))
    },
  } as unknown as GatewayIdentity
  const token = new KeyedToken(identity)
  const random = { next: () => 0.5, fork: () => random }
  const logger = pino({ level: 'silent' })
  token.start({ cloud: {} as never, clock, random, logger, counters: new MessageCounters() })
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve))
  const pass = async (seconds: number) => {
    const end = clock.wallMs() + seconds * 1_000
    while (clock.wallMs() < end) {
      clock.advanceTo(Math.min(end, clock.wallMs() + 1_000))
      await settle()
    }
  }
  await settle()
  return { token, cloud, asked, pass }
}

describe('the token of a gateway with a key', () => {
  it('is asked for after ten seconds, twice that and so on, up to ten minutes, while the cloud is away', async () => {
    const { asked, pass, token } = await world()
    await pass(3_000)
    expect(asked).toEqual([0, 10, 30, 70, 150, 310, 630, 1_230, 1_830, 2_430])
    expect(token).toMatchObject({ current: '' })
    expect(token.isOverdue()).toBe(true)
    await token.close()
  })

  it('is renewed at half of its life, and at once where the cloud refuses it; not twice at a time', async () => {
    const { asked, pass, token, cloud } = await world()
    cloud.gives = true
    await pass(10)
    expect(token.current).toBe('token-2')
    expect(token.isOverdue()).toBe(false)
    await pass(1_800)
    expect(asked).toEqual([0, 10, 1_810])
    token.refused()
    token.refused()
    await pass(1)
    expect(asked).toEqual([0, 10, 1_810, 1_810])
    expect(token.current).toBe('token-4')
    await token.close()
    await pass(7_200)
    expect(asked).toHaveLength(4)
  })

  it('that is refused while the cloud gives none is not asked for at every refusal', async () => {
    const { asked, pass, token } = await world()
    for (let i = 0; i < 5; i++) token.refused()
    await pass(9)
    expect(asked).toEqual([0])
    await token.close()
  })
})
