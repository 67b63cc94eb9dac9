import { describe, expect, it } from 'vitest'
import { highestOutput, readGraphIo } from '../../../../model/engine/tensor-io.ts'
import { OnnxBuilder } from '../../../fixtures/onnx-builder.ts'
import { keywordNetwork } from '../../../fixtures/onnx-networks.ts'

describe('graph borders', () => {
  it('reads types, shapes and the quantization of int8 ends', () => {
    const quantization = { scale: Math.fround(0.05), zeroPoint: -3 }
    expect(readGraphIo(keywordNetwork({ io: 'int8', batch: 'N' }))).toMatchObject({
      ok: true,
      value: {
        inputs: [{ name: 'input', elementType: 'int8', dims: [1, 1, 49, 10], elements: 490, quantization }],
        outputs: [{ elementType: 'int8', dims: [1, 12], elements: 12, quantization }],
      },
    })
  })

  it('gives a float border no quantization, though the graph quantizes it next', () => {
    const io = readGraphIo(keywordNetwork({ io: 'float32' }))
    expect(io.ok && [io.value.inputs[0]?.quantization, io.value.outputs[0]?.quantization]).toEqual([null, null])
  })

  it('refuses element types and shapes that no window has', () => {
    const code = (type: 'int64' | 'float32', dims: readonly (number | string)[]) => {
      const builder = new OnnxBuilder()
      builder.input('x', type, dims)
      const io = readGraphIo(builder.output('x', type, dims).model())
      return io.ok ? 'read' : io.error.code
    }
    expect(code('int64', [1])).toBe('onnx-unsupported-type')
    expect(code('float32', [1, 'T'])).toBe('onnx-dynamic-shape')
    expect(code('float32', ['N', 4])).toBe('read')
  })
})

describe('the highest output', () => {
  it('is the end of the scale of 8 bits, as the graph says it or as the bundle does', () => {
    // Scale 0.05, zero point -3.
    for (const io of ['int8', 'float32'] as const) expect(highestOutput(keywordNetwork({ io }), null)).toBeCloseTo(6.5)
    const stated = { scale: 1 / 256, zeroPoint: -128 }
    expect(highestOutput(keywordNetwork({ io: 'int8' }), stated)).toBe(255 / 256)
    // Of floats the bundle says nothing.
    expect(highestOutput(keywordNetwork({ io: 'float32' }), stated)).toBeCloseTo(6.5)
  })

  it('is 1 where the graph does not tell', () => {
    const builder = new OnnxBuilder()
    builder.input('x', 'float32', [1, 4])
    expect(highestOutput(builder.output('x', 'float32', [1, 4]).model(), null)).toBe(1)
    expect(highestOutput(Uint8Array.of(1), null)).toBe(1)
  })
})
