import { encode as cbor } from 'cborg'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../contract/limits.ts'
import { bool, bytes, defineMessage, int, optional, text, uint, uints } from '../../../contract/message-codec.ts'
import { blockCodec, eventCodec, getCodec, reportCodec, verdictCodec, wakeCodec } from '../../../contract/messages.ts'
import { contractSamples } from '../../fixtures/contract-samples.ts'

const codecs = {
  report: reportCodec,
  wake: wakeCodec,
  event: eventCodec,
  get: getCodec,
  block: blockCodec,
  verdict: verdictCodec,
}
const samples = contractSamples()
const names = Object.keys(codecs) as (keyof typeof codecs)[]
const codeOf = (result: { ok: boolean; error?: { code: string } }) => (result.ok ? 'ok' : result.error!.code)
const hex = (text: string) => Uint8Array.from(Buffer.from(text, 'hex'))

describe.each(names)('the %s decoder', (name) => {
  const codec = codecs[name]
  const sample = samples[name]!

  it('reads its sample and encodes it back to the same bytes', () => {
    const decoded = codec.decode(sample)
    if (!decoded.ok) throw new Error(decoded.error.detail)
    expect((codec.encode as (message: unknown) => Uint8Array)(decoded.value)).toEqual(sample)
  })

  it('refuses too many bytes before it parses them', () => {
    const tooLarge = new Uint8Array(codec.maxBytes + 1)
    tooLarge.set(sample)
    expect(codeOf(codec.decode(tooLarge))).toBe('too-large')
  })

  it('refuses what is no message', () => {
    for (const other of ['', '80', 'f6', '18ff', '60', 'ff', 'a100']) {
      expect(codeOf(codec.decode(hex(other)))).toBe('malformed')
    }
  })

  it('refuses every truncation and trailing bytes', () => {
    for (let length = 0; length < sample.length; length++) {
      expect(codeOf(codec.decode(sample.subarray(0, length)))).toBe('malformed')
    }
    const longer = new Uint8Array(sample.length + 1)
    longer.set(sample)
    if (longer.length <= codec.maxBytes) expect(codeOf(codec.decode(longer))).toBe('malformed')
  })

  it('refuses an unknown version and an unknown field', () => {
    expect(codeOf(codec.decode(cbor(new Map([[0, 2]]))))).toBe('unknown-schema-version')
    expect(codeOf(codec.decode(cbor(new Map([[1, 1]]))))).toBe('unknown-schema-version')
    expect(codeOf(codec.decode(cbor(new Map<number, unknown>([[0, new Map([[1, 1]])]]))))).toBe(
      'unknown-schema-version',
    )
    const fields: [number, number][] = [
      [0, 1],
      [99, 1],
    ]
    expect(codeOf(codec.decode(cbor(new Map(fields))))).toBe('unknown-field')
  })

  it('refuses a missing field', () => {
    expect(codeOf(codec.decode(cbor(new Map([[0, 1]]))))).toBe('malformed')
  })
})

describe('encodings that are not deterministic CBOR', () => {
  it.each([
    ['an indefinite map', 'bf000101070218600 3f5ff'.replaceAll(' ', '')],
    ['a number longer than need be', 'a400180101070218600 3f5'.replaceAll(' ', '')],
    ['a key that comes twice', 'a5000101070107021860 03f5'.replaceAll(' ', '')],
    ['undefined for a value', 'a40001010702186003f7'],
    ['a fraction for a number', 'a40001 01f94720 02186003f5'.replaceAll(' ', '')],
    ['a tagged value', 'a40001 01c107 02186003f5'.replaceAll(' ', '')],
    ['a 64-bit integer beyond 2^53', 'a40001 011bffffffffffffffff 02186003f5'.replaceAll(' ', '')],
  ])('%s is refused', (_what, encoded) => {
    expect(codeOf(verdictCodec.decode(hex(encoded)))).toBe('malformed')
  })

  it('what cannot be told from the canonical message by its values is read: an integral float, keys in another order', () => {
    expect(codeOf(verdictCodec.decode(hex('a4000101f94700021860 03f5'.replaceAll(' ', ''))))).toBe('ok')
    expect(codeOf(verdictCodec.decode(hex('a4010700010218600 3f5'.replaceAll(' ', ''))))).toBe('ok')
  })

  it('(the same message without the flaw is read)', () => {
    expect(verdictCodec.decode(hex('a4000101070218600 3f5'.replaceAll(' ', '')))).toEqual({
      ok: true,
      value: { boot: 7, index: 96, confirmed: true },
    })
  })
})

describe('field types', () => {
  const cases: [string, { read(value: unknown): unknown }, unknown[], unknown[]][] = [
    ['uint', uint(10), [0, 10], [-1, 11, 1.5, '1', null, Number.NaN, true]],
    ['int', int(-120, 0), [-120, 0], [-121, 1, -0.5, '0']],
    ['bool', bool, [true, false], [0, 1, 'true', null]],
    ['bytes', bytes(2, 3), [new Uint8Array(2), new Uint8Array(3)], [new Uint8Array(1), new Uint8Array(4), [1, 2]]],
    ['text', text(3), ['', 'abc'], ['abcd', 1, null]],
    ['uints', uints(2), [[0, LIMITS.counter]], [[1], [1, 2, 3], [1, -1], [1, '2'], 'ab', new Uint8Array(2)]],
  ]
  it.each(cases)('%s takes what is within its bounds and nothing else', (_name, type, good, bad) => {
    for (const value of good) expect(type.read(value)).toEqual(value)
    for (const value of bad) expect(type.read(value)).toBeUndefined()
  })

  it('a present optional field must still be of its type', () => {
    const codec = defineMessage('note', 1, 64, { text: [1, optional(text(3))] })
    expect(codec.decode(codec.encode({ text: undefined }))).toEqual({ ok: true, value: { text: undefined } })
    expect(
      codeOf(
        codec.decode(
          cbor(
            new Map<number, unknown>([
              [0, 1],
              [1, 'long text'],
            ]),
          ),
        ),
      ),
    ).toBe('malformed')
    expect(
      codeOf(
        codec.decode(
          cbor(
            new Map<number, unknown>([
              [0, 1],
              [1, null],
            ]),
          ),
        ),
      ),
    ).toBe('malformed')
  })

  it("a sender's bug throws: a value out of bounds, a message too long, keys that clash", () => {
    expect(() => verdictCodec.encode({ boot: -1, index: 0, confirmed: true })).toThrow(RangeError)
    expect(() => reportCodec.encode({} as never)).toThrow(RangeError)
    const small = defineMessage('small', 1, 8, { text: [1, text(30)] })
    expect(() => small.encode({ text: 'more than eight bytes' })).toThrow(/exceeds 8/)
    expect(() => defineMessage('clash', 1, 8, { a: [1, uint()], b: [1, uint()] })).toThrow(/duplicate/)
    expect(() => defineMessage('clash', 1, 8, { a: [0, uint()] })).toThrow(/reserved/)
  })
})
