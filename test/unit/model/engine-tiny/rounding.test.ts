import { describe, expect, it } from 'vitest'
import { rescaled } from '../../../fixtures/fixed-point-oracle.ts'
import { int8, int32 } from '../../../fixtures/flatbuffer-builder.ts'
import { loadedGraph, operatorGraph, runGraph } from '../../../fixtures/tflite-operator.ts'

const CONV_2D = 3
const DEPTHWISE_CONV_2D = 4

/** Scales of weights from 2^-1 to 2^-20, with multipliers at both ends of their range and between. */
const SCALES = Array.from({ length: 20 }, (_, at) => 2 ** -(at + 1)).flatMap((power) =>
  [1 - 2 ** -24, 1 - 2 ** -13, 0.75, 0.5 + 2 ** -23, 0.6180339, 0.5].map((part) => Math.fround(part * power)),
)

/** Of the input. The second and 1 - 2^-13 make a product that float32 has as a power of two, and the reference does not. */
const INPUT_SCALES = [1, 1 + 2 ** -13] as const

interface Sum {
  readonly scale: number
  readonly sum: number
}

/** Sums whose products lie at a half and at its neighbours on either side, which is where one rounding and two differ. */
const sumsOf = (inputScale: number): readonly Sum[] =>
  SCALES.flatMap((scale) =>
    [-127, -64, -3, -2, -1, 0, 1, 2, 63, 126].flatMap((result) =>
      [-2, -1, 0, 1, 2].map((apart) => ({ scale, sum: Math.round((result + 0.5) / (inputScale * scale)) + apart })),
    ),
  )

/** One place whose input is at its zero point: the bias is the sum. */
function outputsOf(
  code: number,
  sums: readonly Sum[],
  [inputScale, zeroPoint]: readonly [number, number],
  pixels: number,
): number[][] {
  const channels = sums.length
  const depthwise = code === DEPTHWISE_CONV_2D
  const graph = operatorGraph(
    code,
    [
      {
        ...{ type: 'int8', shape: [1, pixels, 1, depthwise ? channels : 1] },
        quantization: { scales: [inputScale], zeroPoints: [0] },
      },
      {
        ...{ type: 'int8', shape: depthwise ? [1, 1, 1, channels] : [channels, 1, 1, 1], elements: sums.map(() => 1) },
        quantization: {
          ...{ scales: sums.map(({ scale }) => scale), zeroPoints: sums.map(() => 0) },
          dimension: depthwise ? 3 : 0,
        },
      },
      { type: 'int32', shape: [channels], elements: sums.map(({ sum }) => sum) },
    ],
    [{ type: 'int8', shape: [1, pixels, 1, channels], quantization: { scales: [1], zeroPoints: [zeroPoint] } }],
    depthwise
      ? [int8(1), int32(1), int32(1), int32(1), int8(0)]
      : [int8(1), int32(1), int32(1), int8(0), int32(1), int32(1)],
  )
  const inputs = new Array<number>(pixels * (depthwise ? channels : 1)).fill(0)
  const [all = []] = runGraph(loadedGraph(graph), [inputs])
  return Array.from({ length: pixels }, (_, at) => all.slice(at * channels, (at + 1) * channels))
}

describe('results at a half', () => {
  it.each([
    ['CONV_2D, four outputs at a time', CONV_2D, 5],
    ['CONV_2D, weights in place', CONV_2D, 1],
    ['DEPTHWISE_CONV_2D', DEPTHWISE_CONV_2D, 3],
  ] as const)('%s: rounded twice, as the reference does', (_, code, pixels) => {
    for (const inputScale of INPUT_SCALES) {
      const all = sumsOf(inputScale)
      for (const zeroPoint of [0, -128, 127]) {
        // Those of one shift together, as in a network, and all of them in one layer.
        for (const sums of [...chunks(all, all.length / 20), all]) {
          const expected = sums.map(({ scale, sum }) =>
            Math.min(127, Math.max(-128, rescaled(sum, inputScale * scale) + zeroPoint)),
          )
          for (const made of outputsOf(code, sums, [inputScale, zeroPoint], pixels)) expect(made).toEqual(expected)
        }
      }
    }
  })
})

const chunks = <T>(all: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, at) => all.slice(at * size, (at + 1) * size))
