import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bytesToHex, sha256, sha256Hex } from '../../../contract/bytes.ts'
import { verdictCodec, wakeCodec } from '../../../contract/messages.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import { parseWav } from '../../../model/audio/wav.ts'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import { createMfcc } from '../../../model/features/mfcc.ts'
import { mfccDefinitionHighPass, mfccDefinitionV1 } from '../../../model/features/mfcc-definition.ts'
import { quantizeFeatures } from '../../../model/features/quantize.ts'
import { packKws } from '../../fixtures/bundles.ts'
import {
  connectDevice,
  FakeCloud,
  gatewayOptions,
  MODEL,
  tempDir,
  tokenIssuer,
  topic,
  until,
} from './gateway-harness.ts'

const zoo = resolve(import.meta.dirname, '../../../zoo')
const metadata = JSON.parse(readFileSync(join(zoo, 'models/verifier.json'), 'utf8')) as {
  labels: string[]
  input: { scale: number; zeroPoint: number }
}
const { labels } = metadata
const featureQuantization = { scale: metadata.input.scale, zeroPoint: metadata.input.zeroPoint }

/** Quantized features of the bank's utterances of a word, as a device sends them. */
function utterances(word: string, count = 5, quantization = featureQuantization): Int8Array[] {
  const folder = join(zoo, 'bank/keyword', word)
  const mfcc = createMfcc(mfccDefinitionV1)
  return readdirSync(folder)
    .filter((name) => name.endsWith('.wav'))
    .slice(0, count)
    .map((name) => {
      const wav = parseWav(readFileSync(join(folder, name)))
      if (!wav.ok) throw new Error(wav.error.code)
      const clip = new Float32Array(16_000)
      // The bank's clips are trimmed; a device wakes with the word inside of its window.
      clip.set(wav.value.samples.subarray(0, clip.length), Math.max(0, (clip.length - wav.value.samples.length) >> 1))
      return quantizeFeatures(mfcc(clip, new Float32Array(490)), quantization, new Int8Array(490))
    })
}

describe('the verifier of the zoo', () => {
  it('confirms utterances claimed as what they are and rejects them claimed as another word', async () => {
    const issuer = await tokenIssuer()
    const cloud = await new FakeCloud().start()
    const graph = readFileSync(join(zoo, 'models/verifier.onnx'))
    const verifier = { graph, labels, featureQuantization }
    const gateway = await startGateway(
      gatewayOptions(cloud, tempDir(), { jwks: issuer.jwks, engine: new EngineOrtNode(), verifier }),
    )
    const client = await connectDevice(`mqtt://127.0.0.1:${gateway.mqttPort}`, 'd1', await issuer.token('d1'))
    try {
      const verdicts = new Map<number, boolean>()
      client.on('message', (_topic, payload) => {
        const verdict = verdictCodec.decode(payload)
        if (verdict.ok) verdicts.set(verdict.value.index, verdict.value.confirmed)
      })
      await client.subscribeAsync(topic('d1', 'verdict'))
      const claims = utterances('yes').flatMap((features) => [
        { features, label: 'yes' },
        { features, label: 'stop' },
      ])
      for (const [i, { features, label }] of claims.entries()) {
        const wake = wakeCodec.encode({
          boot: 1,
          index: i + 1,
          wallMs: 0,
          model: MODEL,
          label: labels.indexOf(label),
          posteriorPermille: 900,
          level: 0,
          features: new Uint8Array(features.buffer),
          noiseDb: -50,
        })
        await client.publishAsync(topic('d1', 'wake'), Buffer.from(wake), { qos: 1 })
      }
      await until('verdicts', () => verdicts.size === claims.length)
      const confirmed = (label: string) =>
        claims.filter((claim, i) => claim.label === label && verdicts.get(i + 1)).length
      expect(confirmed('yes')).toBeGreaterThanOrEqual(4)
      expect(confirmed('stop')).toBe(0)
      // Each clip was inferred once; the second claim of the same features was remembered.
      expect(gateway.stats().messages.verifier).toEqual({ inferred: 5, remembered: 5 })
    } finally {
      client.end(true)
      await gateway.close()
      await cloud.stop()
    }
  })
})

describe('wakes of bundles', () => {
  const words = ['down', 'go', 'left', 'no', 'off', 'on', 'right', 'stop', 'up', 'yes']
  /** The order of MLPerf Tiny, and of nobody. */
  const orders = [[...words, 'silence', 'unknown'], [...labels].reverse()]
  const coarse = { scale: featureQuantization.scale * 1.5, zeroPoint: 20 }
  const prefixOf = (bundle: Uint8Array): Uint8Array => sha256(bundle).slice(0, 8)
  let issuer: Awaited<ReturnType<typeof tokenIssuer>>
  let cloud: FakeCloud
  let gateway: Gateway
  let client: MqttClient
  /** what the cloud lists; undefined: it does not answer */
  let listed: Uint8Array[] | undefined
  /** of releases that name one */
  const verifiers = new Map<Uint8Array, { verifier: string | null }>()
  let index = 0
  const dataDir = tempDir()
  const start = async (): Promise<void> => {
    const graph = readFileSync(join(zoo, 'models/verifier.onnx'))
    const verifier = { graph, labels, featureQuantization, labelsOfModel: 'bundles' } as const
    gateway = await startGateway(
      gatewayOptions(cloud, dataDir, { jwks: issuer.jwks, engine: new EngineOrtNode(), verifier }),
    )
    client = await connectDevice(`mqtt://127.0.0.1:${gateway.mqttPort}`, 'd1', await issuer.token('d1'))
  }
  const stop = async (): Promise<void> => {
    client.end(true)
    await gateway.close()
  }
  const wakeUp = (model: Uint8Array, label: number, features: Int8Array): Promise<unknown> => {
    const fields = { boot: 1, index: ++index, wallMs: 0, uptimeMs: 5, posteriorPermille: 900, level: 0, noiseDb: -50 }
    const wake = wakeCodec.encode({ ...fields, model, label, features: new Uint8Array(features.buffer) })
    return client.publishAsync(topic('d1', 'wake'), Buffer.from(wake), { qos: 1 })
  }
  const sums = (model: Uint8Array) => {
    const rows = [...cloud.verdicts.values()].filter((row) => row.model === bytesToHex(model))
    const sum = (name: 'confirmed' | 'rejected' | 'unjudged') => rows.reduce((all, row) => all + (row[name] ?? 0), 0)
    return { confirmed: sum('confirmed'), rejected: sum('rejected'), unjudged: sum('unjudged') }
  }
  const judged = (model: Uint8Array): number => Object.values(sums(model)).reduce((all, n) => all + n, 0)

  beforeAll(async () => {
    issuer = await tokenIssuer()
    cloud = await new FakeCloud().start()
    cloud.answers = (path) => {
      if (path !== '/v1/models') return undefined
      if (listed === undefined) return 503
      const models = listed.map((bundle) => ({ sha256: sha256Hex(bundle), name: 'x', ...verifiers.get(bundle) }))
      return Buffer.from(JSON.stringify({ models }))
    }
    await start()
  })
  afterAll(async () => {
    await stop()
    await cloud.stop()
  })

  it('are judged by the names of their labels, in whatever order and scale the bundle has them', async () => {
    const bundles = [
      ...orders.map((order) => ({ order, quantization: featureQuantization })),
      { order: [...labels].reverse(), quantization: coarse },
    ]
    const packed = await Promise.all(
      [{ order: labels, quantization: featureQuantization }, ...bundles].map(async ({ order, quantization }, i) => {
        const change = { labels: order, featureQuantization: quantization }
        const { bundle } = await packKws({ name: `kws-${i}`, change })
        cloud.artifacts.set(sha256Hex(bundle), bundle)
        return { order, quantization, bundle }
      }),
    )
    listed = packed.map(({ bundle }) => bundle)
    for (const { order, quantization, bundle } of packed) {
      for (const word of words) {
        for (const features of utterances(word, 7, quantization)) {
          await wakeUp(prefixOf(bundle), order.indexOf(word), features)
        }
      }
    }
    const models = packed.map(({ bundle }) => prefixOf(bundle))
    await until('verdicts', () => models.every((model) => judged(model) === 70))
    const [own, mlperf, reversed, coarser] = models.map(sums)
    expect(own!.confirmed).toBeGreaterThan(60)
    expect([mlperf, reversed]).toEqual([own, own])
    // A coarser scale loses a little of the sound, and no more.
    expect(coarser).toMatchObject({ unjudged: 0 })
    expect(coarser!.confirmed).toBeGreaterThan(60)
  })

  it('go unjudged, and never as rejected, when nobody knows the model or the verifier does not know the name', async () => {
    const order = labels.map((label) => (label === 'go' ? 'xylophone' : label))
    const { bundle } = await packKws({ name: 'kws-x', change: { labels: order } })
    cloud.artifacts.set(sha256Hex(bundle), bundle)
    listed = [bundle]
    const [features] = utterances('go', 1)
    const unknown = Uint8Array.of(9, 9, 9, 9, 9, 9, 9, 9)
    await wakeUp(prefixOf(bundle), order.indexOf('xylophone'), features!)
    await wakeUp(unknown, 3, features!)
    // A label that the model has not.
    await wakeUp(prefixOf(bundle), 40, features!)
    await until('verdicts', () => judged(unknown) === 1 && judged(prefixOf(bundle)) === 2)
    expect(sums(unknown)).toEqual({ confirmed: 0, rejected: 0, unjudged: 1 })
    expect(sums(prefixOf(bundle))).toEqual({ confirmed: 0, rejected: 0, unjudged: 2 })
    // Counted when the store has answered, which may be after the cloud has the row.
    await until('counted', () => gateway.stats().messages.verdict?.['unjudged'] === 3)
  })

  it('wait while the cloud does not answer, and others go on; what was learned is known after a start without a cloud', async () => {
    const { bundle } = await packKws({ name: 'kws-late' })
    const known = prefixOf(listed![0]!)
    cloud.artifacts.set(sha256Hex(bundle), bundle)
    listed = undefined
    const [features] = utterances('yes', 1)
    await wakeUp(prefixOf(bundle), labels.indexOf('yes'), features!)
    await wakeUp(known, labels.indexOf('yes'), features!)
    await until('the verdict of the known model', () => judged(known) === 3)
    await until('one waits', () => gateway.stats().depths.pendingWakes === 1)
    expect(judged(prefixOf(bundle))).toBe(0)
    await stop()
    await start()
    await wakeUp(known, labels.indexOf('yes'), features!)
    await until('the known model after a start', () => judged(known) === 4)
    expect(judged(prefixOf(bundle))).toBe(0)
    listed = [bundle]
    await until('the verdict that waited', () => judged(prefixOf(bundle)) === 1)
    expect(sums(prefixOf(bundle))).toMatchObject({ confirmed: 1 })
  })

  it('are judged by the verifier of their release, known after a start without a cloud; what does not fit judges nothing', async () => {
    const change = { boards: [], labels: [...labels].reverse() }
    /** A network whose labels are in another order than those of the one that the gateway was started with. */
    const turned = await packKws({ name: 'verifier', model: 'verifier', change: { ...change, featureQuantization } })
    const features = { ...mfccDefinitionHighPass }
    const other = await packKws({
      name: 'verifier',
      model: 'verifier',
      change: { boards: [], features, featureQuantization },
    })
    const broken = Uint8Array.from(turned.bundle).fill(0, 0, 8)
    const own = [turned.bundle, other.bundle, broken, null]
    const releases = await Promise.all(own.map((_, i) => packKws({ name: `kws-own-${i}` })))
    for (const [i, verifier] of own.entries()) {
      const { bundle } = releases[i]!
      cloud.artifacts.set(sha256Hex(bundle), bundle)
      if (verifier !== null) cloud.artifacts.set(sha256Hex(verifier), verifier)
      verifiers.set(bundle, { verifier: verifier && sha256Hex(verifier) })
    }
    listed = releases.map(({ bundle }) => bundle)
    const models = releases.map(({ bundle }) => prefixOf(bundle))
    const [yes] = utterances('yes', 1)
    const wakes = async () => {
      for (const model of models) await wakeUp(model, labels.indexOf('yes'), yes!)
    }
    await wakes()
    await until('verdicts', () => models.every((model) => judged(model) === 1))
    const [byOwn, byOther, byBroken, byGiven] = models.map(sums)
    // Reversed labels on the same network: "yes" is what it takes for silence.
    expect(byOwn).toEqual({ confirmed: 0, rejected: 1, unjudged: 0 })
    expect([byOther, byBroken]).toEqual([1, 1].map((unjudged) => ({ confirmed: 0, rejected: 0, unjudged })))
    expect(byGiven).toEqual({ confirmed: 1, rejected: 0, unjudged: 0 })
    listed = undefined
    await stop()
    await start()
    await wakes()
    await until('verdicts again', () => models.every((model) => judged(model) === 2))
    expect(sums(models[0]!)).toEqual({ confirmed: 0, rejected: 2, unjudged: 0 })
  })

  it('whose release names a verifier that is not to be had wait for it, and are not judged by another', async () => {
    const { bundle } = await packKws({ name: 'kws-waits' })
    const verifier = await packKws({
      name: 'verifier',
      model: 'verifier',
      change: { boards: [], labels, featureQuantization },
    })
    cloud.artifacts.set(sha256Hex(bundle), bundle)
    verifiers.set(bundle, { verifier: verifier.release.sha256 })
    listed = [bundle]
    const [yes] = utterances('yes', 1)
    const before = gateway.stats().depths.pendingWakes
    await wakeUp(prefixOf(bundle), labels.indexOf('yes'), yes!)
    await until('asked for it', () => cloud.requests.includes(`GET /v1/artifacts/${verifier.release.sha256}`))
    await until('it waits', () => gateway.stats().depths.pendingWakes === before + 1)
    expect(judged(prefixOf(bundle))).toBe(0)
    cloud.artifacts.set(verifier.release.sha256, verifier.bundle)
    // The gateway believes for half a minute that the cloud has it not.
    await until('the verdict that waited', () => judged(prefixOf(bundle)) === 1)
    expect(sums(prefixOf(bundle))).toEqual({ confirmed: 1, rejected: 0, unjudged: 0 })
  })
})
