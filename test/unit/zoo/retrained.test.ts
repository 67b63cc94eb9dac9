import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readTensorMap } from '../../../model/tensor-map.ts'
import { makePatch } from '../../../release/patch/make-patch.ts'
import type { Card } from '../../../zoo/card.ts'
import { weightChanges } from '../../../zoo/weight-changes.ts'

const zoo = new URL('../../../zoo/', import.meta.url).pathname
const network = (name: string): Uint8Array => readFileSync(join(zoo, 'models', `${name}.onnx`))
const bundle = (name: string): Uint8Array => readFileSync(join(zoo, 'bundles', `${name}.kinglet`))
const card = (name: string) => JSON.parse(readFileSync(join(zoo, 'cards', `${name}.json`), 'utf8')) as Card

const tensors = (name: string) => {
  const map = readTensorMap(network(name))
  if (!map.ok) throw new Error(map.error.code)
  return map.value.tensors
}

describe.each([['kws-2-frozen'], ['kws-2-sparse'], ['kws-2-head']])('%s', (name) => {
  it('has the scales and zero points of kws-1, tensor by tensor', () => {
    const quantizations = (of: string) => tensors(of).map(({ name, quantization }) => ({ name, quantization }))
    expect(quantizations(name)).toEqual(quantizations('kws-1'))
    expect(tensors(name).filter(({ quantization }) => quantization !== null).length).toBeGreaterThanOrEqual(20)
  })

  it('differs from kws-1 in weights and biases only, in as many as its card says', () => {
    const changes = weightChanges(network('kws-1'), network(name))
    expect(changes.onlyWeightsAndBiases).toBe(true)
    expect([changes.weightsTotal, changes.biasesTotal]).toEqual([22_016, 588])
    const { retraining } = card(name).metadata
    expect((100 * changes.weights) / changes.weightsTotal).toBeCloseTo(retraining!.changedWeightsPercent, 2)
    expect(changes.biases).toBe(retraining!.changedBiases)
    expect(changes.weights).toBeGreaterThan(0)
  })
})

describe('the count of changes', () => {
  it('finds a changed scale, which is neither weight nor bias, and leaves its arguments alone', () => {
    const base = network('kws-1')
    const before = Uint8Array.from(base)
    const scale = tensors('kws-1').find(({ role, elementType }) => role === 'scale' && elementType === 'float32')!
    const other = Uint8Array.from(base)
    other[scale.range.offset]! ^= 1
    expect(weightChanges(base, other)).toMatchObject({ weights: 0, biases: 0, onlyWeightsAndBiases: false })
    expect(weightChanges(base, base)).toMatchObject({ weights: 0, biases: 0, onlyWeightsAndBiases: true })
    expect(Uint8Array.from(base)).toEqual(before)
  })

  it('counts one weight by its step and one bias once', () => {
    const base = network('kws-1')
    const other = Uint8Array.from(base)
    const at = (role: string) => tensors('kws-1').find((tensor) => tensor.role === role)!.range.offset
    const weight = (base[at('weight')]! << 24) >> 24
    other[at('weight')] = weight > 0 ? weight - 7 : weight + 7
    other[at('bias') + 1]! ^= 3
    other[at('bias') + 2]! ^= 3
    expect(weightChanges(base, other)).toMatchObject({ weights: 1, biases: 1, largestStep: 7 })
  })
})

describe('the patch from kws-1 to kws-2-sparse', () => {
  it('is at most a quarter of the compact full image, as a bundle', () => {
    const full = makePatch(null, bundle('kws-2-sparse')).length
    expect(makePatch(bundle('kws-1'), bundle('kws-2-sparse')).length).toBeLessThanOrEqual(0.25 * full)
  })
})
