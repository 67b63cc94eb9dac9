import { describe, expect, it } from 'vitest'
import { loadTinyFile } from '../../../../model/engine-tiny/load.ts'
import { type FlatField, int8, int32, table, uint32 } from '../../../fixtures/flatbuffer-builder.ts'
import { type BuiltTensor, TfliteBuilder } from '../../../fixtures/tflite-builder.ts'

const q = (shape: readonly number[], more: Partial<BuiltTensor> = {}): Partial<BuiltTensor> => ({
  ...{ type: 'int8', shape, quantization: { scales: [0.5], zeroPoints: [0] } },
  ...more,
})
const ints = (...values: number[]): Partial<BuiltTensor> => ({
  ...{ type: 'int32', shape: [values.length] },
  data: new Uint8Array(Int32Array.from(values).buffer),
})
const weights = (shape: readonly number[], more: Partial<BuiltTensor> = {}): Partial<BuiltTensor> =>
  q(shape, { data: new Uint8Array(shape.reduce((a, b) => a * b, 1)), ...more })

/** One operator over these inputs; the first without data is the graph's input. */
function refusal(
  code: number,
  inputs: readonly Partial<BuiltTensor>[],
  outputs: readonly Partial<BuiltTensor>[],
  options: readonly FlatField[] = [],
): string {
  const builder = new TfliteBuilder()
  const main = builder.subgraph()
  const all = [...inputs, ...outputs].map((tensor, at) =>
    main.tensor({ name: `t${at}`, type: 'int8', shape: [1], ...tensor }),
  )
  const from = all.slice(0, inputs.length)
  const to = all.slice(inputs.length)
  main.op(code, from, to, table(...options))
  main.ends(
    from.filter((_, at) => inputs[at]?.data === undefined && inputs[at]?.variable !== true),
    to,
  )
  const loaded = loadTinyFile(builder.model())
  return loaded.ok ? 'loaded' : `${loaded.error.code}: ${loaded.error.detail}`
}

describe('operators that move or reduce, in files that lie', () => {
  it.each<[string, () => string, RegExp]>([
    [
      'SLICE beyond the end',
      () => refusal(65, [q([4, 4]), ints(2, 0), ints(3, 4)], [q([3, 4])]),
      /^tiny-malformed: node 0, SLICE: begin/,
    ],
    [
      'SLICE from before the begin',
      () => refusal(65, [q([4, 4]), ints(-1, 0), ints(2, 4)], [q([2, 4])]),
      /^tiny-malformed/,
    ],
    [
      'SLICE into another shape',
      () => refusal(65, [q([4, 4]), ints(1, 0), ints(-1, 4)], [q([4, 4])]),
      /^tiny-malformed.*its operands make \[3, 4\]/,
    ],
    ['SLICE to the end', () => refusal(65, [q([4, 4]), ints(1, 0), ints(-1, 4)], [q([3, 4])]), /^loaded/],
    [
      'TRANSPOSE by an axis twice',
      () => refusal(39, [q([2, 3]), ints(0, 0)], [q([2, 2])]),
      /^tiny-malformed.*permutation/,
    ],
    [
      'TRANSPOSE by an axis that is not there',
      () => refusal(39, [q([2, 3]), ints(0, 2)], [q([2, 3])]),
      /^tiny-malformed.*axis 2 of 2/,
    ],
    [
      'GATHER of an index that is not there',
      () => refusal(36, [q([4, 3]), ints(4)], [q([1, 3])], [int32(0)]),
      /^tiny-malformed.*index 4 of 4/,
    ],
    [
      'GATHER of a negative index',
      () => refusal(36, [q([4, 3]), ints(-1)], [q([1, 3])], [int32(0)]),
      /^tiny-malformed.*index -1 of 4/,
    ],
    [
      'GATHER along an axis that is not there',
      () => refusal(36, [q([4, 3]), ints(1)], [q([1, 3])], [int32(2)]),
      /^tiny-malformed.*axis 2 of 2/,
    ],
    [
      'GATHER by computed indices of another type',
      () => refusal(36, [q([4, 3]), { type: 'int8', shape: [1] }], [q([1, 3])], [int32(0)]),
      /^tiny-unsupported-type.*int8, this engine has it for int32/,
    ],
    [
      'PACK of fewer than the output has',
      () => refusal(83, [q([3])], [q([2, 3])], [int32(1), int32(0)]),
      /^tiny-malformed.*1 parts of \[2,3\]/,
    ],
    [
      'UNPACK of other shapes',
      () => refusal(88, [q([2, 3])], [q([3]), q([4])], [int32(2), int32(0)]),
      /^tiny-malformed/,
    ],
    [
      'RESIZE to another size than the output has',
      () => refusal(97, [q([1, 2, 2, 1]), ints(4, 4)], [q([1, 4, 5, 1])]),
      /^tiny-malformed/,
    ],
    [
      'RESIZE to more places than a table has',
      () => refusal(97, [q([1, 2, 2, 1]), ints(512, 512)], [q([1, 512, 512, 1])]),
      /^tiny-unsupported-operator.*262144 places/,
    ],
    [
      'ARG_MAX along an axis that is not there',
      () => refusal(56, [q([2, 3]), ints(2)], [{ type: 'int32', shape: [2] }]),
      /^tiny-malformed.*axis 2/,
    ],
    [
      'ARG_MAX without an axis',
      () => refusal(56, [q([2, 3]), { type: 'int32', shape: [0] }], [{ type: 'int32', shape: [2] }]),
      /^tiny-malformed/,
    ],
    [
      'REDUCE_MAX between scales',
      () => refusal(82, [q([2, 3]), ints(1)], [q([2], { quantization: { scales: [0.25], zeroPoints: [0] } })]),
      /^tiny-unsupported-type.*different scales/,
    ],
    [
      'L2_NORMALIZATION into another scale than 1/128',
      () => refusal(11, [q([1, 4])], [q([1, 4])]),
      /^tiny-unsupported-type/,
    ],
    [
      'L2_NORMALIZATION of rows whose squares pass 31 bits',
      () => refusal(11, [q([1, 40_000])], [q([1, 40_000], { quantization: { scales: [1 / 128], zeroPoints: [0] } })]),
      /^tiny-unsupported-operator.*rows of 40000/,
    ],
    [
      'CONV_2D of int16 with sums of 64 bits and a factor beyond them',
      () =>
        refusal(
          3,
          [
            { type: 'int16', shape: [1, 1, 1, 1], quantization: { scales: [20], zeroPoints: [0] } },
            weights([1, 1, 1, 1], { quantization: { scales: [10], zeroPoints: [0] } }),
            { type: 'int64', shape: [1], data: new Uint8Array(8) },
          ],
          [{ type: 'int16', shape: [1, 1, 1, 1], quantization: { scales: [1], zeroPoints: [0] } }],
          [int8(1), int32(1), int32(1)],
        ),
      /^tiny-malformed.*a factor of 128 or more/,
    ],
    [
      'FULLY_CONNECTED of int16 that is not around 0',
      () =>
        refusal(
          9,
          [{ type: 'int16', shape: [1, 2], quantization: { scales: [1], zeroPoints: [5] } }, weights([1, 2])],
          [{ type: 'int16', shape: [1, 1], quantization: { scales: [1], zeroPoints: [0] } }],
        ),
      /^tiny-unsupported-type.*int16 around 5, not 0/,
    ],
    [
      'SLICE of more than there is from a computed begin',
      () => refusal(65, [q([4, 4]), { type: 'int32', shape: [2] }, ints(5, 4)], [q([5, 4])]),
      /^tiny-malformed.*does not fit into/,
    ],
    [
      'TANH of int32',
      () => refusal(28, [{ type: 'int32', shape: [4] }], [{ type: 'int32', shape: [4] }]),
      /^tiny-unsupported-type.*int32/,
    ],
    [
      'TANH without a scale',
      () => refusal(28, [q([4], { quantization: {} })], [q([4])]),
      /^tiny-unsupported-type.*one scale/,
    ],
    [
      'LEAKY_RELU with a slope that is no number',
      () => refusal(98, [q([4])], [q([4])], [uint32(0x7fc00000)]),
      /^tiny-malformed.*NaN/,
    ],
    [
      'HARD_SWISH into an output too fine',
      () => refusal(117, [q([4])], [q([4], { quantization: { scales: [0.001], zeroPoints: [0] } })]),
      /^tiny-(unsupported-type|malformed)/,
    ],
    [
      'PRELU of shapes that do not repeat',
      () => refusal(54, [q([1, 4]), weights([1, 3])], [q([1, 4])]),
      /^tiny-malformed/,
    ],
    [
      'SVDF whose state is no variable',
      () => refusal(27, [q([1, 2]), weights([2, 2]), weights([2, 3]), ints(0, 0), q([1, 6])], [q([1, 2])], [int32(1)]),
      /^tiny-malformed.*no variable/,
    ],
    [
      'SVDF of a rank that divides nothing',
      () =>
        refusal(
          27,
          [q([1, 2]), weights([2, 2]), weights([2, 3]), ints(0, 0), q([1, 6], { variable: true })],
          [q([1, 2])],
          [int32(0)],
        ),
      /^tiny-malformed.*rank 0/,
    ],
    [
      'SVDF with a state too short',
      () =>
        refusal(
          27,
          [q([1, 2]), weights([2, 2]), weights([2, 3]), ints(0, 0), q([1, 5], { variable: true })],
          [q([1, 2])],
          [int32(1)],
        ),
      /^tiny-malformed/,
    ],
    [
      'TRANSPOSE_CONV without strides',
      () =>
        refusal(
          67,
          [ints(1, 4, 4, 1), weights([1, 2, 2, 1]), q([1, 2, 2, 1])],
          [q([1, 4, 4, 1])],
          [int8(0), int32(0), int32(0)],
        ),
      /^tiny-malformed.*strides of 0/,
    ],
    [
      'TRANSPOSE_CONV with weights of other channels',
      () =>
        refusal(
          67,
          [ints(1, 4, 4, 1), weights([1, 2, 2, 2]), q([1, 2, 2, 1])],
          [q([1, 4, 4, 1])],
          [int8(0), int32(2), int32(2)],
        ),
      /^tiny-malformed/,
    ],
    [
      'an operator that is not there',
      () => refusal(108, [q([4])], [q([4])]),
      /^tiny-unsupported-operator: node 0, COS: .*onnxruntime/,
    ],
  ])('%s', (_, outcome, expected) => {
    expect(outcome()).toMatch(expected)
  })
})
