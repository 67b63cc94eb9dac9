import type { GraphEnds } from '../../contract/manifest-v2.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { GraphEnd } from '../../model/graph-file.ts'
import type { GraphSpec } from './pipeline-spec.ts'

/** Names of inputs that a rate goes into. */
const RATE_NAMES = ['sr', 'sample_rate', 'sampling_rate', 'rate']

/** How exporters call the output that a state comes back from. */
const nextNames = (name: string): readonly string[] => [
  `${name}N`,
  `${name}n`,
  `${name}_n`,
  `${name}_out`,
  `${name}_next`,
  `next_${name}`,
  `new_${name}`,
]

/** Which end of a graph is what: as the pack file says, or by what files usually call them.
 *  @param elements of the window, for an input whose shape the file leaves open
 *  @param rateHz for an input that wants to know it
 *  @returns null where the file alone says everything; or what has to be said, in words */
export function endsOf(
  inputs: readonly GraphEnd[],
  outputs: readonly GraphEnd[],
  spec: GraphSpec,
  elements: number,
  rateHz: number,
): Result<GraphEnds | null, string> {
  const states = statesOf(inputs, outputs, spec)
  const constants = constantsOf(inputs, spec, rateHz)
  const taken = new Set([...states.map(([input]) => input), ...constants.map(([input]) => input)])
  const free = inputs.filter(({ name }) => !taken.has(name))
  const window = spec.input === undefined ? free[0] : inputs.find(({ name }) => name === spec.input)
  const names = (ends: readonly GraphEnd[]): string => ends.map(({ name }) => `"${name}"`).join(', ')
  if (window === undefined) return err(`no input "${spec.input ?? ''}"; the graph's inputs are ${names(inputs)}`)
  if (spec.input === undefined && free.length > 1) {
    return err(
      `it has the inputs ${names(free)}: say which is the window ("input"), and what the others are ("states", "constants")`,
    )
  }
  const back = new Set(states.map(([, output]) => output))
  const results = outputs.filter(({ name }) => !back.has(name))
  const result = spec.output === undefined ? results[0] : outputs.find(({ name }) => name === spec.output)
  if (result === undefined) return err(`no output "${spec.output ?? ''}"; the graph's outputs are ${names(outputs)}`)
  if (spec.output === undefined && results.length > 1)
    return err(`it has the outputs ${names(results)}: say which is the result ("output")`)
  const dims = spec.inputDims ?? openDims(window, elements)
  if (dims === undefined) {
    return err(`input "${window.name}" leaves its shape open: say it with "inputDims"`)
  }
  const isOpen = [window, result].some((end) => end.dims === null || end.dims.slice(1).includes(null))
  if (inputs.length === 1 && outputs.length === 1 && !isOpen && spec.inputDims === undefined) return ok(null)
  const stateEnds: GraphEnds['states'] = []
  for (const [input, output] of states) {
    const declared = inputs.find(({ name }) => name === input)
    // One at a time: the batch is what exporters leave open in a state.
    const shape = spec.stateDims ?? declared?.dims?.map((dim) => dim ?? 1)
    if (shape === undefined) return err(`state "${input}" has no shape: say it with "stateDims"`)
    stateEnds.push({ input, output, dims: [...shape] })
  }
  return ok({
    input: { name: window.name, dims: [...dims] },
    output: result.name,
    states: stateEnds,
    constants: constants.map(([input, values]) => ({
      input,
      dims: (inputs.find(({ name }) => name === input)?.dims ?? []).map((dim) => dim ?? 1),
      values: [...values],
    })),
  })
}

function statesOf(
  inputs: readonly GraphEnd[],
  outputs: readonly GraphEnd[],
  { states }: GraphSpec,
): readonly (readonly [input: string, output: string])[] {
  if (states !== undefined) return Object.entries(states)
  return inputs.flatMap(({ name }) => {
    const next = outputs.find((output) => nextNames(name).includes(output.name))
    return next === undefined ? [] : [[name, next.name] as const]
  })
}

function constantsOf(
  inputs: readonly GraphEnd[],
  { constants }: GraphSpec,
  rateHz: number,
): readonly (readonly [input: string, values: readonly number[]])[] {
  if (constants !== undefined) {
    return Object.entries(constants).map(([name, value]) => [name, typeof value === 'number' ? [value] : value])
  }
  return inputs
    .filter(
      ({ name, elementType }) => RATE_NAMES.includes(name) && (elementType === 'int64' || elementType === 'int32'),
    )
    .map(({ name }) => [name, [rateHz]])
}

/** Shape of a window whose batch, and one dimension more, the file leaves open. */
function openDims({ dims }: GraphEnd, elements: number): readonly number[] | undefined {
  if (dims === null) return undefined
  const batched = dims.map((dim, axis) => dim ?? (axis === 0 && dims.length > 1 ? 1 : null))
  const open = batched.filter((dim) => dim === null).length
  const known = batched.reduce<number>((product, dim) => product * (dim ?? 1), 1)
  if (open === 0) return batched.map((dim) => dim ?? 1)
  return open === 1 && elements % known === 0 ? batched.map((dim) => dim ?? elements / known) : undefined
}
