import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { verdictCodec, wakeCodec } from '../../../contract/messages.ts'
import { startGateway } from '../../../gateway/gateway.ts'
import { parseWav } from '../../../model/audio/wav.ts'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import { createMfcc } from '../../../model/features/mfcc.ts'
import { mfccDefinitionV1 } from '../../../model/features/mfcc-definition.ts'
import { quantizeFeatures } from '../../../model/features/quantize.ts'
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
function utterances(word: string): Int8Array[] {
  const folder = join(zoo, 'bank/keyword', word)
  const mfcc = createMfcc(mfccDefinitionV1)
  return readdirSync(folder)
    .filter((name) => name.endsWith('.wav'))
    .slice(0, 5)
    .map((name) => {
      const wav = parseWav(readFileSync(join(folder, name)))
      if (!wav.ok) throw new Error(wav.error.code)
      const clip = new Float32Array(16_000)
      // The bank's clips are trimmed; a device wakes with the word inside of its window.
      clip.set(wav.value.samples.subarray(0, clip.length), Math.max(0, (clip.length - wav.value.samples.length) >> 1))
      return quantizeFeatures(mfcc(clip, new Float32Array(490)), featureQuantization, new Int8Array(490))
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
