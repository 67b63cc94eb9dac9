import { expect, it } from 'vitest'
import { Challenges } from '../../../../cloud/trust/challenges.ts'
import { LIMITS } from '../../../../contract/limits.ts'

const MINUTE = 60_000
/** Never the same twice, and fast. */
const counting = () => {
  let count = 0
  return {
    bytes(length: number): Uint8Array {
      const bytes = new Uint8Array(length)
      new DataView(bytes.buffer).setUint32(0, ++count)
      return bytes
    },
  }
}
const code = (result: { ok: true } | { ok: false; error: { code: string } }): string =>
  result.ok ? 'ok' : result.error.code

it('a challenge is good once, until it ends, and nobody else makes one', () => {
  const challenges = new Challenges(counting())
  const challenge = challenges.issue(0)
  expect(challenge).toMatch(/^[0-9a-f]+$/)
  expect(challenge.length).toBe(2 * LIMITS.challengeBytes)
  expect(code(challenges.check(challenge, 5 * MINUTE - 1))).toBe('ok')
  expect(code(challenges.check(challenge, 5 * MINUTE))).toBe('expired')
  expect(
    code(
      challenges.check(
        challenge.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')),
        0,
      ),
    ),
  ).toBe('bad-signature')
  expect(code(challenges.check('00', 0))).toBe('bad-signature')
  expect(code(new Challenges({ bytes: (n) => new Uint8Array(n).fill(9) }).check(challenge, 0))).toBe('bad-signature')
  expect(code(challenges.spend(challenge, 0))).toBe('ok')
  expect(code(challenges.check(challenge, 1))).toBe('replayed')
})

it('as many as the bound are remembered, more are refused and none forgotten, until they end', () => {
  const challenges = new Challenges(counting())
  const first = challenges.issue(0)
  expect(code(challenges.spend(first, 0))).toBe('ok')
  for (let i = 1; i < 60_000; i++) if (!challenges.spend(`c${i}`, 1).ok) throw new Error(`refused at ${i}`)
  expect(code(challenges.spend('one more', 2))).toBe('unavailable')
  expect(code(challenges.check(first, 2))).toBe('replayed')
  // The first has ended by now, and makes room for one.
  expect(code(challenges.spend('one more', 5 * MINUTE))).toBe('ok')
  expect(code(challenges.spend('another', 5 * MINUTE))).toBe('unavailable')
  expect(code(challenges.spend('another', 5 * MINUTE + 1))).toBe('ok')
})
