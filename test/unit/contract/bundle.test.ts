import { encode as cbor } from 'cborg'
import { describe, expect, it } from 'vitest'
import { decodeBundle, encodeBundle } from '../../../contract/bundle.ts'
import { sha256 } from '../../../contract/bytes.ts'
import { LIMITS } from '../../../contract/limits.ts'
import { bundleSections } from '../../fixtures/contract-samples.ts'

const bundle = () => encodeBundle(bundleSections)
const codeOf = (data: Uint8Array): string => {
  const result = decodeBundle(data)
  return result.ok ? 'ok' : result.error.code
}
const changed = (at: number, ...values: number[]): Uint8Array => {
  const copy = bundle()
  copy.set(values, at)
  return copy
}

/** A container put together by hand, with any table. */
function container(toc: Uint8Array, count: number, body: (out: Uint8Array) => void, totalBytes: number): Uint8Array {
  const out = new Uint8Array(totalBytes)
  const view = new DataView(out.buffer)
  out.set([0x4b, 0x4e, 0x47, 0x4c])
  view.setUint16(4, 1, true)
  view.setUint16(6, count, true)
  view.setUint32(8, toc.length, true)
  view.setUint32(12, totalBytes, true)
  out.set(toc, 32)
  body(out)
  return out
}
const data = Uint8Array.of(1, 2, 3, 4)
const row = (name: unknown, offset: unknown, length: unknown, hash: unknown = sha256(data)) => [
  name,
  offset,
  length,
  hash,
]
const withRows = (rows: unknown, count: number, totalBytes: number): Uint8Array =>
  container(
    cbor(rows),
    count,
    (out) => {
      for (let at = 176; at + 4 <= totalBytes; at += 16) out.set(data, at)
    },
    totalBytes,
  )

describe('encodeBundle', () => {
  it('gives the same bytes for the same sections, and others for another order', () => {
    expect(bundle()).toEqual(bundle())
    expect(encodeBundle([...bundleSections].reverse())).not.toEqual(bundle())
  })

  it('puts sections at multiples of 16 and gives them back as views', () => {
    const made = bundle()
    const decoded = decodeBundle(made)
    if (!decoded.ok) throw new Error(decoded.error.detail)
    for (const section of decoded.value.values()) {
      expect(section.byteOffset % 16).toBe(0)
      expect(section.buffer).toBe(made.buffer)
    }
  })

  it('reads a bundle that lies inside a larger buffer', () => {
    const made = bundle()
    const inside = new Uint8Array(made.length + 20)
    inside.set(made, 7)
    expect(codeOf(inside.subarray(7, 7 + made.length))).toBe('ok')
  })

  it.each([15, 16, 17, 200, 0xff, 0x100, 0xffff, 0x1_0000])(
    'settles its table beside a section of %d bytes',
    (length) => {
      const many = Array.from({ length: LIMITS.bundleSections }, (_, i) => ({
        name: `section-${i}`,
        data: new Uint8Array(length).fill(i),
      }))
      expect(codeOf(encodeBundle(many))).toBe('ok')
    },
  )

  it("throws on the packer's bugs", () => {
    const one = { name: 'a', data }
    expect(() => encodeBundle([])).toThrow(RangeError)
    expect(() => encodeBundle([one, one])).toThrow(/unique/)
    expect(() => encodeBundle([{ name: 'Capital', data }])).toThrow(/name/)
    expect(() => encodeBundle(Array.from({ length: 33 }, (_, i) => ({ name: `s${i}`, data })))).toThrow(RangeError)
    expect(() => encodeBundle([{ name: 'a', data: new Uint8Array(LIMITS.bundleBytes) }])).toThrow(RangeError)
  })
})

describe('decodeBundle refuses', () => {
  it('more bytes than the limit, before it looks at them', () => {
    expect(codeOf(new Uint8Array(LIMITS.bundleBytes + 1))).toBe('too-large')
  })

  it('other files, and the beginnings of a bundle as what they are', () => {
    expect(codeOf(new Uint8Array(0))).toBe('bundle-bad-magic')
    expect(codeOf(new TextEncoder().encode('RIFF'))).toBe('bundle-bad-magic')
    const whole = bundle()
    for (let length = 1; length < whole.length; length++)
      expect(codeOf(whole.subarray(0, length))).toBe('bundle-truncated')
  })

  it('an unknown container version', () => {
    expect(codeOf(changed(4, 2))).toBe('unknown-schema-version')
    expect(codeOf(changed(5, 1))).toBe('unknown-schema-version')
  })

  it('bytes after the end, and bytes that belong to no section', () => {
    const longer = new Uint8Array(bundle().length + 1)
    longer.set(bundle())
    expect(codeOf(longer)).toBe('bundle-bad-section')
    new DataView(longer.buffer).setUint32(12, longer.length, true)
    expect(codeOf(longer)).toBe('bundle-bad-section')
  })

  it('reserved bytes in use, counts and tables out of bounds', () => {
    for (let at = 16; at < 32; at++) expect(codeOf(changed(at, 1))).toBe('bundle-bad-toc')
    expect(codeOf(changed(6, 0))).toBe('bundle-bad-toc')
    expect(codeOf(changed(6, 3))).toBe('bundle-bad-toc')
    expect(codeOf(changed(6, 33))).toBe('bundle-bad-toc')
    expect(codeOf(changed(8, 0xff, 0xff))).toBe('bundle-bad-toc')
    expect(codeOf(changed(8, 0xff, 0x0f))).toBe('bundle-truncated')
    expect(codeOf(changed(8, 1))).toBe('bundle-bad-toc')
  })

  it('a table that is not [name, offset, length, sha256]', () => {
    const good = row('a', 176, 4)
    expect(codeOf(withRows([good], 1, 180))).not.toBe('bundle-bad-toc')
    for (const bad of [
      'text',
      [['a', 176, 4]],
      [row('A', 176, 4)],
      [row(1, 176, 4)],
      [row('a', -1, 4)],
      [row('a', 176.5, 4)],
      [row('a', 176, -4)],
      [row('a', 176, 4, new Uint8Array(31))],
      [row('a', 176, 4, 'ff')],
      [[...good, 1]],
      [row('../etc', 176, 4)],
    ]) {
      expect(codeOf(withRows(bad, 1, 180))).toBe('bundle-bad-toc')
    }
    expect(codeOf(container(Uint8Array.of(0x81, 0xff), 1, () => undefined, 64))).toBe('bundle-bad-toc')
  })

  it('a section twice, out of place, overlapping, or beyond the end', () => {
    const rows = (...list: unknown[][]) => {
      const toc = cbor(list)
      const first = Math.ceil((32 + toc.length) / 16) * 16
      return {
        first,
        make: (of: unknown[][], total: number) =>
          container(
            cbor(of),
            of.length,
            (out) => {
              for (let at = first; at + 4 <= total; at += 16) out.set(data, at)
            },
            total,
          ),
      }
    }
    const two = rows(row('a', 112, 4), row('b', 112, 4))
    const [f, make] = [two.first, two.make]
    expect(codeOf(make([row('a', f, 4), row('b', f + 16, 4)], f + 20))).toBe('ok')
    expect(codeOf(make([row('a', f, 4), row('a', f + 16, 4)], f + 20))).toBe('bundle-bad-section')
    expect(codeOf(make([row('a', f, 4), row('b', f, 4)], f + 20))).toBe('bundle-bad-section')
    expect(codeOf(make([row('a', f + 16, 4), row('b', f, 4)], f + 20))).toBe('bundle-bad-section')
    expect(codeOf(make([row('a', f, 4), row('b', f + 32, 4)], f + 36))).toBe('bundle-bad-section')
    expect(codeOf(make([row('a', f, 4), row('b', f + 16, 400)], f + 20))).toBe('bundle-bad-section')
  })

  it('sections that share bytes or lie off their alignment, though all hashes hold', () => {
    const body = Uint8Array.from({ length: 20 }, (_, i) => i + 1)
    const tableOf = (b: unknown[]) => cbor([row('a', 112, 20, sha256(body)), b])
    const at = (toc: Uint8Array) => Math.ceil((32 + toc.length) / 16) * 16
    const make = (offset: number, length: number, total: number) => {
      const first = at(tableOf(row('b', 112, 4)))
      const b = row('b', first + offset, length, sha256(body.subarray(offset, offset + length)))
      const toc = cbor([row('a', first, 20, sha256(body)), b])
      expect(at(toc)).toBe(first)
      return container(toc, 2, (out) => out.set(body, first), first + total)
    }
    // The last four bytes of a, seen as b; and all of a once more.
    expect(codeOf(make(16, 4, 20))).toBe('bundle-bad-section')
    expect(codeOf(make(0, 20, 20))).toBe('bundle-bad-section')
    const first = at(tableOf(row('b', 112, 4)))
    const close = cbor([
      row('a', first, 4, sha256(body.subarray(0, 4))),
      row('b', first + 4, 16, sha256(body.subarray(4))),
    ])
    expect(codeOf(container(close, 2, (out) => out.set(body, first), first + 20))).toBe('bundle-bad-section')
  })

  it('padding that is not zero, and a section without its hash', () => {
    const made = bundle()
    const decoded = decodeBundle(made)
    if (!decoded.ok) throw new Error(decoded.error.detail)
    const graph = decoded.value.get('graph/full')!
    expect(codeOf(changed(graph.byteOffset + graph.length, 1))).toBe('bundle-bad-section')
    for (const section of decoded.value.values()) {
      if (section.length > 0) expect(codeOf(changed(section.byteOffset, section[0]! ^ 1))).toBe('bundle-section-hash')
    }
  })
})
