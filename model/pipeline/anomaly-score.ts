import type { Head } from '../../contract/head.ts'

/** What an anomaly head makes of one window. @param output of the last graph, real values, @param input what it read */
export const anomalyScore = (
  { score }: Pick<Extract<Head, { kind: 'anomaly' }>, 'score'>,
  output: Float32Array,
  input: Float32Array,
): number => (score === 'output' ? (output[0] ?? Number.NaN) : squaredDifference(output, input))

/** Mean of the squared differences, as an autoencoder is trained and judged by. */
function squaredDifference(output: Float32Array, input: Float32Array): number {
  let sum = 0
  for (let i = 0; i < input.length; i++) sum += (output[i]! - input[i]!) ** 2
  return sum / input.length
}
