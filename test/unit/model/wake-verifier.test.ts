import { describe, expect, it } from 'vitest'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import { engineByFormat } from '../../../model/engine-by-format.ts'
import { EngineTiny } from '../../../model/engine-tiny/engine-tiny.ts'
import { judgeWake, wakeFormatsOf, windowOf } from '../../../model/wake-judge.ts'
import { openVerifier, verifierFits } from '../../../model/wake-verifier.ts'
import { packSpec } from '../../fixtures/pipeline-bundles.ts'
import { halvingAutoencoder, wordLike } from '../../fixtures/pipeline-graphs.ts'

const engine = engineByFormat({ tflite: new EngineTiny(), onnx: new EngineOrtNode() })
const pack = async (head: string, name = 'bearing', vectors = 8, graph = halvingAutoencoder(24)) => {
  const spec = `name: ${name}
version: 1
input: { vectors: { channels: 3, rate: 1600 } }
pipelines:
  - id: shake
    features: { kind: vector-windows, version: 1, channels: 3, sampleRateHz: 1600, windowVectors: ${vectors}, hopVectors: ${vectors}, normalization: none }
    featureQuantization: { scale: 0.01, zeroPoint: 0 }
    graphs: [auto.onnx]
    ${head}
`
  return (await packSpec(spec, { 'auto.onnx': graph })).bundle
}
const device = () => pack('anomaly: { threshold: 0.01 }')

/** An alarm whose window has one value everywhere: the network's score is a quarter of its square. */
async function verdict(threshold: number, value: number): Promise<boolean | undefined> {
  const bundle = await device()
  const formats = wakeFormatsOf(bundle)
  const verifier = await openVerifier(await pack(`anomaly: { threshold: ${threshold} }`, 'judge'), engine)
  if (!formats.ok || !verifier.ok) throw new Error('does not open')
  const { session } = verifier.value
  const features = new Uint8Array(new Int8Array(24).fill(Math.round(value / 0.01)).buffer)
  const posteriors = async (bytes: Uint8Array, quantization: { scale: number; zeroPoint: number }) => {
    const result = await session.run(windowOf(bytes, quantization))
    return result.ok ? result.value : undefined
  }
  const said = await judgeWake(
    { label: 0, features },
    formats.value[0]!,
    verifier.value,
    session.input.elements,
    posteriors,
  )
  await verifier.value.close()
  return said
}

describe('a verifier that scores anomalies', () => {
  it('confirms an alarm whose window it scores at its own threshold or above, and rejects one below', async () => {
    // A value of 0.5 scores 0.0625.
    expect(await verdict(0.0624, 0.5)).toBe(true)
    expect(await verdict(0.0626, 0.5)).toBe(false)
    expect(await verdict(0.01, 0)).toBe(false)
  })

  it('fits alarms of the same front end, and neither it nor its release is a number', async () => {
    const [judge, released] = [await pack('anomaly: { threshold: 1 }', 'judge'), await device()]
    expect(verifierFits(judge, released)).toEqual({ ok: true, value: undefined })
    const measuring = await pack('regression: { unit: g, range: [0, 1] }', 'measure', 512, wordLike(1))
    expect(verifierFits(measuring, released)).toMatchObject({
      ok: false,
      error: {
        detail: 'the verifier: a verifier says yes or no: its head is wake, classification or anomaly, not regression',
      },
    })
    expect(await openVerifier(measuring, engine)).toMatchObject({ ok: false })
  })
})
