import { RATE_HZ } from './labels.ts'
import { below, between, normal, pick, type Random } from './random.ts'

/** Places a listening device lives in; each is a generator, so that any amount of it can be made from a seed. */
export const NOISE_KINDS = ['fan', 'pink', 'babble', 'street', 'kitchen', 'hum', 'machine', 'music', 'room'] as const
export type NoiseKind = (typeof NOISE_KINDS)[number]
/** The noises that something is tried in: all but a quiet room. */
export const LOUD_KINDS: readonly NoiseKind[] = NOISE_KINDS.filter((kind) => kind !== 'room')

/** Noise with a slope between white (0) and brown (1), by a leaky integrator mixed with white. */
const coloured = (length: number, slope: number, random: Random): Float32Array => {
  const out = new Float32Array(length)
  let low = 0
  for (let i = 0; i < length; i += 1) {
    const white = normal(random)
    low = 0.985 * low + 0.17 * white
    out[i] = slope * low + (1 - slope) * white * 0.6
  }
  return out
}

/** Pink noise by Voss and McCartney's rows of held white noise. */
const pink = (length: number, random: Random): Float32Array => {
  const rows = new Float32Array(14)
  const out = new Float32Array(length)
  for (let i = 0; i < length; i += 1) {
    const row = Math.min(13, 31 - Math.clz32((i + 1) & -(i + 1)))
    rows[row] = normal(random)
    let sum = normal(random)
    for (let r = 0; r < 14; r += 1) sum += rows[r]!
    out[i] = sum
  }
  return out
}

/** Second-order resonator run over a signal: the formants of objects. */
const resonate = (input: Float32Array, hz: number, bandwidthHz: number): Float32Array => {
  const r = Math.exp((-Math.PI * bandwidthHz) / RATE_HZ)
  const a = 2 * r * Math.cos((2 * Math.PI * hz) / RATE_HZ)
  const out = new Float32Array(input.length)
  let y1 = 0
  let y2 = 0
  for (let i = 0; i < input.length; i += 1) {
    const y = (1 - r) * input[i]! + a * y1 - r * r * y2
    y2 = y1
    y1 = y
    out[i] = y
  }
  return out
}

const fan = (length: number, random: Random): Float32Array => {
  const out = coloured(length, between(random, 0.5, 0.95), random)
  const bladeHz = between(random, 35, 160)
  const depth = between(random, 0.05, 0.5)
  const partials = 2 + below(random, 5)
  const wobbleHz = between(random, 0.1, 1.5)
  for (let i = 0; i < length; i += 1) {
    const t = i / RATE_HZ
    const phase = 2 * Math.PI * bladeHz * t + 0.6 * Math.sin(2 * Math.PI * wobbleHz * t)
    let tone = 0
    for (let p = 1; p <= partials; p += 1) tone += Math.sin(p * phase) / p
    out[i] = out[i]! * (1 + depth * Math.sin(phase)) + depth * 2 * tone
  }
  return out
}

const hum = (length: number, random: Random): Float32Array => {
  const out = coloured(length, between(random, 0, 0.5), random)
  const mainsHz = pick(random, [50, 60, 100, 120])
  const amplitudes = Array.from({ length: 12 }, (_, p) => between(random, 0.2, 3) / (1 + p))
  for (let i = 0; i < length; i += 1) {
    let tone = 0
    for (let p = 0; p < amplitudes.length; p += 1) {
      tone += amplitudes[p]! * Math.sin((2 * Math.PI * mainsHz * (p + 1) * i) / RATE_HZ + p)
    }
    out[i] = 0.15 * out[i]! + tone
  }
  return out
}

const street = (length: number, random: Random): Float32Array => {
  const out = coloured(length, between(random, 0.6, 0.95), random).map((v) => v * 0.4)
  const add = (start: number, part: Float32Array, gain: number) => {
    for (let i = 0; i < part.length && start + i < length; i += 1)
      if (start + i >= 0) out[start + i]! += gain * part[i]!
  }
  const passing = Math.max(1, Math.round((length / RATE_HZ) * between(random, 0.15, 0.5)))
  for (let n = 0; n < passing; n += 1) {
    const seconds = between(random, 1, 4)
    const span = Math.floor(seconds * RATE_HZ)
    const body = coloured(span, between(random, 0.3, 0.9), random)
    const engineHz = between(random, 30, 120)
    const swell = body.map((v, i) => {
      const rise = Math.sin((Math.PI * i) / span) ** 2
      return rise * (v + 0.7 * Math.sin((2 * Math.PI * engineHz * (1.1 - (0.2 * i) / span) * i) / RATE_HZ))
    })
    add(below(random, length + span) - span, swell, between(random, 0.5, 2))
  }
  const calls = below(random, 3)
  for (let n = 0; n < calls; n += 1) {
    // A horn or a brake: a few steady or sliding tones with an edge.
    const span = Math.floor(between(random, 0.15, 0.9) * RATE_HZ)
    const hz = between(random, 280, 1_800)
    const slide = between(random, -0.2, 0.2)
    const call = new Float32Array(span)
    for (let i = 0; i < span; i += 1) {
      const phase = (2 * Math.PI * hz * (1 + (slide * i) / span) * i) / RATE_HZ
      const edge = Math.min(1, i / 300, (span - i) / 800)
      call[i] = edge * (Math.sin(phase) + 0.6 * Math.sin(1.26 * phase) + 0.4 * Math.sin(2 * phase))
    }
    add(below(random, length), call, between(random, 0.2, 1.2))
  }
  return out
}

const kitchen = (length: number, random: Random): Float32Array => {
  const out = coloured(length, between(random, 0.1, 0.7), random).map((v) => v * between(random, 0.01, 0.05))
  const hits = Math.max(2, Math.round((length / RATE_HZ) * between(random, 1, 6)))
  for (let n = 0; n < hits; n += 1) {
    const span = Math.floor(between(random, 0.03, 0.5) * RATE_HZ)
    const start = below(random, length)
    const strike = new Float32Array(span)
    const contact = 20 + below(random, 300)
    for (let i = 0; i < Math.min(contact, span); i += 1) strike[i] = normal(random)
    const modes = 2 + below(random, 4)
    const gain = between(random, 0.3, 3)
    for (let m = 0; m < modes; m += 1) {
      const ring = resonate(strike, between(random, 300, 6_000), between(random, 8, 200))
      for (let i = 0; i < span && start + i < length; i += 1) out[start + i]! += gain * ring[i]! * 4
    }
  }
  if (random() < 0.5) {
    // A running tap: bright noise through a wide resonance.
    const water = resonate(coloured(length, 0, random), between(random, 1_200, 3_500), between(random, 800, 2_500))
    const gain = between(random, 0.1, 1)
    for (let i = 0; i < length; i += 1) out[i]! += gain * water[i]!
  }
  return out
}

/** Washing machines, mixers, saws: resonating noise and tone in bursts about as long as syllables. */
const machine = (length: number, random: Random): Float32Array => {
  const source = coloured(length, between(random, 0, 0.6), random)
  const motorHz = between(random, 50, 300)
  const voicing = between(random, 0, 3)
  for (let i = 0; i < length; i += 1) source[i]! += voicing * (((motorHz * i) / RATE_HZ) % 1 < 0.15 ? 1 : -0.18)
  const out = source.map((v) => 0.05 * v)
  const bodies = 2 + below(random, 3)
  for (let b = 0; b < bodies; b += 1) {
    const ring = resonate(source, between(random, 250, 3_500), between(random, 60, 400))
    const gain = between(random, 0.5, 3)
    for (let i = 0; i < length; i += 1) out[i]! += gain * ring[i]!
  }
  const rateHz = between(random, 0.6, 4)
  const sharpness = between(random, 1, 6)
  const rest = between(random, 0.003, 0.1)
  for (let i = 0; i < length; i += 1) {
    const wave = 0.5 + 0.5 * Math.sin((2 * Math.PI * rateHz * i) / RATE_HZ)
    out[i]! *= rest + wave ** sharpness
  }
  return out
}

/** A radio in the next room: notes with harmonics and vibrato, a beat, chords now and then. */
const music = (length: number, random: Random): Float32Array => {
  const out = pink(length, random).map((v) => v * 0.004)
  const beat = Math.floor(between(random, 0.14, 0.5) * RATE_HZ)
  const keyHz = between(random, 100, 320)
  const scale = [0, 2, 4, 5, 7, 9, 11, 12, 14, 16]
  const partials = 3 + below(random, 8)
  const vibrato = between(random, 0, 0.012)
  const percussion = random() < 0.6
  for (let at = 0; at < length; at += beat) {
    const voices = random() < 0.25 ? 0 : random() < 0.3 ? 3 : 1
    const span = Math.min(length - at, beat * (1 + below(random, 3)))
    for (let v = 0; v < voices; v += 1) {
      const hz = keyHz * 2 ** (pick(random, scale) / 12)
      const decay = between(random, 0.5, 8)
      for (let i = 0; i < span; i += 1) {
        const t = i / RATE_HZ
        const phase = 2 * Math.PI * hz * t + vibrato * (hz / 6) * Math.sin(2 * Math.PI * 6 * t) * 10
        const edge = Math.min(1, i / 200, (span - i) / 400) * Math.exp(-decay * t)
        let tone = 0
        for (let p = 1; p <= partials; p += 1) tone += Math.sin(p * phase) / p
        out[at + i]! += 0.5 * edge * tone
      }
    }
    if (percussion && random() < 0.5) {
      const hit = Math.min(length - at, 1_600)
      for (let i = 0; i < hit; i += 1) out[at + i]! += 0.7 * normal(random) * Math.exp(-i / 250)
    }
  }
  return out
}

/** Microphone hiss of a quiet room: nearly white, with a trace of low rumble. */
const room = (length: number, random: Random): Float32Array => coloured(length, between(random, 0, 0.6), random)

const babble = (length: number, random: Random, voices: readonly Float32Array[]): Float32Array => {
  const out = new Float32Array(length)
  if (voices.length === 0) return pink(length, random)
  const talkers = 3 + below(random, 6)
  for (let talker = 0; talker < talkers; talker += 1) {
    const gain = between(random, 0.4, 1)
    for (let at = -below(random, RATE_HZ); at < length; ) {
      const voice = pick(random, voices)
      for (let i = Math.max(0, -at); i < voice.length && at + i < length; i += 1) out[at + i]! += gain * voice[i]!
      at += voice.length + below(random, RATE_HZ >> 1)
    }
  }
  const floor = pink(length, random)
  for (let i = 0; i < length; i += 1) out[i]! += 0.004 * floor[i]!
  return out
}

/** Makes noise of one kind, its peak at 0.5.
 *  @param seconds length
 *  @param voices sentences at 16 kHz for `babble`; unused by the others
 *  @returns samples at 16 kHz */
export const makeNoise = (
  kind: NoiseKind,
  seconds: number,
  random: Random,
  voices: readonly Float32Array[] = [],
): Float32Array => {
  const length = Math.round(seconds * RATE_HZ)
  const makers = { fan, pink, babble, street, kitchen, hum, machine, music, room }
  const out = makers[kind](length, random, voices)
  let peak = 1e-9
  for (let i = 0; i < length; i += 1) peak = Math.max(peak, Math.abs(out[i]!))
  for (let i = 0; i < length; i += 1) out[i]! *= 0.5 / peak
  return out
}
