/** A decoder of patches that follows docs/patch.md and shares nothing with ours: whole files in memory, closures over plain
 *  arrays, no checkpoint, no page. What it makes and ours does not is a fault of one of the two, or of the page.
 *  @param base the old file; empty for none
 *  @returns the new file
 *  @throws Error for anything that the page calls malformed or truncated */
export function decodeByThePage(base: Uint8Array, patch: Uint8Array): Uint8Array {
  const fail = (what: string): never => {
    throw new Error(what)
  }
  let at = 0
  const octet = (): number => patch[at++] ?? fail('truncated header')
  const leb = (): number => {
    let [value, scale, byte] = [0, 1, 0]
    do {
      byte = octet()
      value += (byte % 128) * scale
      scale *= 128
    } while (byte > 127 && scale < 2 ** 36)
    return byte > 127 || value > 0xffff_ffff || (byte === 0 && scale > 128) ? fail('no minimal length') : value
  }
  if (octet() !== 0x4b || octet() !== 0x50) fail('no patch')
  const version = octet()
  if (version !== 1 && version !== 2) fail('no version that is known')
  const flags = octet()
  const method = ['stored', 'numbers', 'bytes'][flags & 7] ?? fail('no such method')
  if (flags > 15) fail('flags that are not known')
  const size = leb()
  if (flags & 8) {
    if (leb() !== base.length) fail('wrong base')
    at += 16
  }
  at += 16
  if (at > patch.length) fail('truncated header')
  const space = new Uint8Array((flags & 8 ? base.length : 0) + size)
  const origin = space.length - size
  if (origin > 0) space.set(base)
  let end = origin
  const emit = (value: number, width = 1): void => {
    for (let i = 0; i < width; i++) space[end++] = Math.floor(value / 256 ** i) % 256
  }
  if (method === 'stored') {
    if (patch.length - at !== size) fail('stored bytes of another length')
    space.set(patch.subarray(at), origin)
    return space.slice(origin)
  }
  if (size === 0) return at === patch.length ? new Uint8Array(0) : fail('bytes left over')

  // Range code.
  let range = 0xffff_ffff
  let value = 0
  const pull = (): void => {
    if (at > patch.length + 4) fail('truncated')
    value = ((value << 8) >>> 0) + (patch[at++] ?? 0)
  }
  for (let i = 0; i < 4; i++) pull()
  const settle = (): void => {
    while (range < 0x100_0000) {
      range = (range << 8) >>> 0
      pull()
    }
  }
  const coin = (one: number): number => {
    const bound = (range >>> 15) * (one >>> 1)
    const bit = value < bound ? 1 : 0
    if (bit) range = bound
    else [value, range] = [value - bound, range - bound]
    settle()
    return bit
  }
  const direct = (bits: number): number => {
    let whole = 0
    for (let left = bits; left > 0; left -= 12) {
      const part = Math.min(left, 12)
      const unit = range >>> part
      const piece = Math.min(Math.floor(value / unit), 2 ** part - 1)
      value = (value - piece * unit) >>> 0
      range = unit
      settle()
      whole = whole * 2 ** part + piece
    }
    return whole
  }
  const cells = Array.from({ length: method === 'numbers' ? 3378 : 896 }, () => ({ p: 32_768, n: 0 }))
  const flip = (index: number): number => {
    const cell = cells[index] ?? fail('a bit that there is not')
    const rate = Math.floor(16_384 / (cell.n + 1.5) + 0.5)
    const bit = coin(cell.p)
    cell.p = bit
      ? Math.min(65_512, cell.p + Math.floor(((65_536 - cell.p) * rate) / 16_384))
      : Math.max(24, cell.p - Math.floor((cell.p * rate) / 16_384))
    cell.n = Math.min(250, cell.n + 1)
    return bit
  }
  const tree = (from: number, bits: number): number => {
    let node = 1
    for (let i = 0; i < bits; i++) node = node * 2 + flip(from + node)
    return node - 2 ** bits
  }
  const headed = (from: number, length: number, top: number): number => {
    const low = length - 1 - top
    return (2 ** top + tree(from + 4 * length, top)) * 2 ** low + direct(low)
  }
  const uint = (from: number): number => {
    const length = tree(from, 6)
    if (length > 32) fail('a number of more than 32 bits')
    return length < 2 ? length : headed(from + 64, length, length > 5 ? 0 : length === 2 ? 1 : 2)
  }
  const int = (from: number): number => {
    const coded = uint(from)
    return coded % 2 ? -(coded + 1) / 2 : coded / 2
  }
  const mantissa = (from: number, length: number): number => headed(from, length, Math.min(length - 1, 2))

  // Bytes.
  const B = 88
  const made = (): number => end - origin
  const shifts = [origin, 0, 0]
  let baseEnd = 0
  let history = 0
  const slots = new Uint16Array(method === 'numbers' ? 2_048 : 5_888).fill(2_048 * 16)
  const own = version === 1 ? 256 : 304
  const edges = [0, 1_400, 2_600, 3_050, 3_500, 4_096].map((e) => own + Math.floor((e * (slots.length - own)) / 4_096))
  const weights = Array.from({ length: 12 }, () => Int32Array.from({ length: 9 }, (_, i) => (i < 6 ? 23_593 : 39_322)))
  const half = (x: number): number => Math.floor(x + 0.5)
  const STRETCH = Array.from({ length: 1_024 }, (_, i) => half(256 * Math.log((i + 0.5) / (1_023.5 - i))))
  const SQUASH = Array.from({ length: 513 }, (_, i) => half(65_536 / (1 + Math.exp((256 - i) / 32))))
  const TRUST = [5, 9, 11, 12, 13, 14, 14, 14, 14, 14, 15, 15, 15, 15, 15, 15]
  const RATE = [40960, 25206, 18204, 14247, 11703, 9930, 8623, 7620, 6827, 6183, 5650, 5201, 4819, 4489, 4201, 3948]
  const within = (x: number, low: number, high: number): number => Math.max(low, Math.min(high, x))

  // Version 2: what it foretells with, and how well it did.
  const changes = [0, 0]
  const right = [false, false, false]
  let guesses: boolean[] = [false, false, false]

  const literal = (): void => {
    const place = made() & 3
    const source = end - shifts[0]!
    const expected = shifts[0]! > 0 && source >= 0 ? space[source]! : -1
    const follows = (history & 2) > 0
    if (version === 1 || expected < 0) {
      emit(eightBits(expected, follows, []))
      return
    }
    const bytesAt = (of: number): number => {
      let sum = 0
      for (let i = 0; i <= place; i++) sum += (of - place + i < 0 ? 0 : space[of - place + i]!) * 256 ** i
      return sum
    }
    const word = bytesAt(source)
    const told = [0, ...changes].map((change) => ((word + change) >>> (8 * place)) & 255)
    const isNew = told.map((byte, i) => told.indexOf(byte) === i)
    const guess = isNew[1] && right[1] ? 1 : follows ? -1 : 0
    const isCoded = guess >= 0 && guesses[0] === true
    const state = (guesses[1] ? 1 : 0) + (guesses[2] ? 2 : 0)
    let byte = -1
    if (isCoded && flip(B + 32 + place + 4 * guess + 8 * state)) byte = told[guess]!
    else {
      const tellers = told.flatMap((foretold, i) => {
        if (!isNew[i] || (isCoded && i === guess)) return []
        const first = 256 + 16 * i + (right[i] ? 2 : 0) + (follows ? 4 : 0) + (isNew[1] ? 8 : 0)
        return [{ foretold, first, input: 6 + i }]
      })
      byte = eightBits(expected, follows, tellers)
    }
    for (const i of [0, 1, 2]) if (isNew[i]) right[i] = told[i] === byte
    if (guess >= 0) guesses = [told[guess] === byte, guesses[0]!, guesses[1]!]
    emit(byte)
    const here = bytesAt(end - 1)
    if (byte === told[1] || here === word) return
    const [last, other] = changes as [number, number]
    const known = 256 ** place
    if (byte === told[2]) changes.splice(0, 2, other, last)
    else {
      const isHalf = place > 0 && (word + last - here) % known === 0
      changes.splice(0, 2, (here - word) | 0, isHalf ? other : last)
    }
  }

  type Teller = { readonly foretold: number; readonly first: number; readonly input: number }
  const eightBits = (expected: number, follows: boolean, foretelling: Teller[]): number => {
    const place = made() & 3
    const back = (i: number): number => (made() >= i ? space[end - i]! : 0)
    const [a, b, c, d] = [back(1), back(2), back(3), back(4)]
    const keys = [
      a + 0x100,
      (a | (b << 8)) + 0x2_0000,
      expected < 0 ? 0x300_0000 | place : (expected | (follows ? 0x200 : 0)) + 0x300_0400,
      (d | (place << 8)) + 0x400_0000,
      Math.imul(a | (b << 8) | (c << 16), 0x2c92_77b5) + 5,
    ].map((key) => Math.imul(key, 0x9e37_79b1))
    const weight = weights[place + (expected < 0 ? 0 : follows ? 4 : 8)]!
    let tellers = foretelling
    let node = 1
    for (let left = 7; left >= 0; left--) {
      const picked = [{ slot: node, input: 0, told: 1 }]
      for (const [i, key] of keys.entries()) {
        const h = Math.imul(key ^ Math.imul(node, 0x3d4d_51cb), 0x85eb_ca6b)
        const spread = (h ^ (h >>> 15)) >>> 16
        const slot = edges[i]! + Math.floor((spread * (edges[i + 1]! - edges[i]!)) / 65_536)
        picked.push({ slot, input: 1 + i, told: 1 })
      }
      for (const { foretold, first, input } of tellers)
        picked.push({ slot: first + (left < 7 ? 1 : 0), input, told: (foretold >> left) & 1 })
      const votes = picked.map(({ slot, told }) => {
        const vote = (STRETCH[slots[slot]! >> 6]! * TRUST[slots[slot]! & 15]!) >> 4
        return told ? vote : -vote
      })
      const sum = votes.reduce((total, vote, i) => total + vote * weight[picked[i]!.input]!, 0)
      const one = within(SQUASH[(within(half(sum / 65_536), -2_047, 2_047) + 2_052) >> 3]!, 32, 65_504)
      const bit = coin(one)
      const error = 65_536 * bit - one
      for (const [i, { slot, input, told }] of picked.entries()) {
        weight[input] = weight[input]! + Math.floor((votes[i]! * error) / 16_384)
        const [p, n] = [slots[slot]! >> 4, slots[slot]! & 15]
        const moved =
          bit === told ? p + Math.floor(((4_095 - p) * RATE[n]!) / 65_536) : p - Math.floor((p * RATE[n]!) / 65_536)
        slots[slot] = moved * 16 + Math.min(n + 1, 15)
      }
      tellers = tellers.filter(({ foretold }) => ((foretold >> left) & 1) === bit)
      node = node * 2 + bit
    }
    return node - 256
  }

  /** @returns bytes copied */
  const copy = (most: number): number => {
    const kind = tree(B + 64 + 8 * ((history >> 1) & 3), 3)
    if (kind > 5) fail('no such copy')
    const table = kind < 3 ? 0 : kind === 3 ? 1 : 2
    const length = uint(B + 96 + 88 * table) + (kind < 3 ? 1 : 2)
    let shift = shifts[kind] ?? 0
    if (kind === 3) {
      const step = int(B + 360)
      shift = shifts[0]! + (step < 0 ? step : step + 1)
    } else if (kind === 4) shift = end - (baseEnd + int(B + 448))
    else if (kind === 5) shift = 4 * uint(B + 536 + 88 * (length < 3 ? 0 : length < 6 ? 1 : 2)) + tree(B + 800, 2) + 1
    if (shift < 1 || shift > end || length > most) fail('a copy out of bounds')
    const known = shifts.indexOf(shift)
    shifts.splice(known < 0 ? 2 : known, 1)
    shifts.unshift(shift)
    const source = end - shift
    if (source < origin) baseEnd = Math.min(source + length, origin)
    for (let i = 0; i < length; i++) emit(space[source + i]!)
    return length
  }

  const stretch = (): void => {
    let left = uint(0)
    if (left > size - made()) fail('a stretch too long')
    while (left > 0) {
      const isCopy = flip(B + (history | ((made() & 3) << 3)))
      history = ((history << 1) | isCopy) & 7
      if (isCopy) left -= copy(left)
      else {
        literal()
        left--
      }
    }
  }

  // Numbers.
  const N = 896
  const KINDS = [
    { width: 1 },
    { width: 2 },
    { width: 4 },
    { width: 2, e: 5, m: 10 },
    { width: 2, e: 8, m: 7 },
    { width: 4, e: 8, m: 23 },
  ]
  const run = (): void => {
    const code = tree(N + 2466, 3)
    const { width, e = 0, m = 0 } = KINDS[code] ?? fail('no such kind')
    const count = uint(N + 2114) + 1
    const source = tree(N + 2474, 2)
    if (source > 2) fail('no such source')
    let offset = source === 1 ? baseEnd + int(N + 2202) : source === 2 ? made() + int(N + 2290) : 0
    const center = code === 0 ? direct(8) : 0
    const channel = code === 0 ? uint(N + 2378) : 0
    const local = code === 0 && flip(N + 2478) === 1
    const exponent = e > 0 ? direct(8) : 0
    const zeroBits = e > 0 && source === 0 ? direct(5) : 0
    const gain = code === 5 && source > 0 && flip(N + 2479) ? direct(32) : 0x3f80_0000
    if (zeroBits > 0 && zeroBits > m - 4) fail('too many zero bits')
    const bytes = count * width
    if (bytes > size - made()) fail('more numbers than there is room for')
    if (source > 0 && (offset < 0 || offset + bytes > (source === 1 ? origin : made()))) fail('numbers out of bounds')
    if (source === 1) baseEnd = offset + bytes
    if (source === 2) offset += origin
    const predicting = (k: number): number => {
      let q = 0
      if (source > 0) for (let i = width - 1; i >= 0; i--) q = q * 256 + space[offset + k * width + i]!
      return q
    }
    const next =
      code === 0
        ? octets(source, center, channel, local)
        : e === 0
          ? integers(width)
          : floats(source, e, m, exponent, zeroBits, code === 5 ? gain : 0x3f80_0000)
    for (let k = 0; k < count; k++) emit(next(k, predicting(k)), width)
  }

  const signed8 = (x: number): number => (x << 24) >> 24
  const octets = (source: number, center: number, channel: number, local: boolean) => {
    const bits = N + (source > 0 ? 245 : 0)
    for (const cell of cells.slice(bits, bits + 245)) cell.n = Math.min(cell.n, 30)
    let [seen, sum, mean, gain] = [0, 0, source > 0 ? 64 : 400, source > 0 ? 256 : 0]
    return (k: number, q: number): number => {
      if (channel > 0 && k % channel === 0) {
        seen = sum = 0
        if (source > 0) {
          const mode = tree(N + 490, 2)
          gain = mode === 1 ? 0 : mode === 2 ? 192 + 2 * tree(N + 494, 6) : 256
        }
      } else if (channel === 0 && seen === 64) [seen, sum] = [32, sum >> 1]
      let predicted = source > 0 ? signed8(q - center) : 0
      if (source > 0 && gain !== 256) predicted = within((predicted * gain + 128) >> 8, -128, 127)
      let bin = 0
      if (local) {
        const x = Math.floor((sum + 6 * mean) / (seen + 6))
        const l = x > 0 ? Math.floor(Math.log2(x)) : 0
        bin = l < 2 ? 1 : Math.min(12, 2 * l - 2 + ((x >>> (l - 1)) & 1))
      }
      const first = bits + 9 * bin
      let difference = 0
      if (!flip(first)) {
        const negative = flip(first + 1)
        let power = 0
        while (power < 7 && flip(first + 2 + power)) power++
        const rest = power > 0 && power < 7 ? tree(bits + 117 + 2 ** power - 3, power) : 0
        difference = (negative ? -1 : 1) * (2 ** power + rest)
      }
      const size16 = 16 * Math.abs(difference)
      sum += size16
      seen++
      mean += Math.trunc((size16 - mean) / (k < 299 ? k + 4 : 300))
      return (predicted + difference + center) & 255
    }
  }

  const integers = (width: number) => {
    let last = 0
    return (_: number, q: number): number => {
      const near = last === 0 ? 0 : last > 20 ? 5 : Math.min(5, 1 + (last >> 2))
      const length = tree(N + 558 + 64 * near, 6)
      last = (last + length + 1) >> 1
      if (length === 0) return q
      const negative = flip(N + 1074)
      const size = mantissa(N + 942, Math.min(length, 32))
      const modulus = 256 ** width
      return (((q + (negative ? -size : size)) % modulus) + modulus) % modulus
    }
  }

  const scaled = (q: number, gain: number): number => {
    const view = new DataView(new ArrayBuffer(8))
    view.setUint32(0, q)
    view.setUint32(4, gain)
    const product = view.getFloat32(0) * view.getFloat32(4)
    if (Number.isNaN(product)) return 0x7fc0_0000
    view.setFloat32(0, product)
    return view.getUint32(0)
  }
  const floats = (source: number, e: number, m: number, exponent: number, zeroBits: number, gain: number) => {
    const F = N + 1075
    const top = 2 ** (e + m)
    let last = 0
    if (source === 0)
      return (): number => {
        let below = tree(F + 32 * last, 5)
        let own = exponent - below
        if (below === 31 || own < 0) own = direct(e)
        below = last = Math.min(below, 7)
        const sign = flip(F + 256)
        const head = tree(F + 257 + 16 * below, 4)
        const rest = direct(m - 4 - zeroBits)
        const low = head * 2 ** (m - 4) + rest * 2 ** zeroBits
        // OR of a sign and an exponent that may reach its bit.
        return (((sign * top) | (own * 2 ** m)) >>> 0) + low
      }
    return (_: number, q: number): number => {
      const predicted = gain === 0x3f80_0000 || gain === 0 ? q : scaled(q, gain)
      const same = flip(F + 385 + last)
      last = ((last << 1) & 7) | same
      if (same) return predicted
      const near = within(exponent - (Math.floor(predicted / 2 ** m) % 2 ** e), 0, 7)
      const length = Math.min(32, tree(F + 393 + 64 * near, 6))
      const negative = flip(F + 905)
      if (length === 0) return predicted
      const size = mantissa(F + 907, length)
      const from = predicted >= top ? -1 - (predicted % top) : predicted % top
      const place = (from + (negative ? -size : size)) | 0
      const below = (place < 0 ? ~place : place) & (top - 1)
      return (place < 0 ? top : 0) + (below >>> 0)
    }
  }

  stretch()
  while (end < space.length) {
    if (method !== 'numbers') fail('numbers in a patch without them')
    run()
    if (end < space.length) stretch()
  }
  if (at < patch.length) fail('bytes left over')
  if (at > patch.length + 4) fail('truncated')
  return space.slice(origin)
}
