import { encodeBundle } from '../../contract/bundle.ts'
import type { TinyGraph } from '../../model/engine-tiny/graph.ts'
import { loadTinyFile } from '../../model/engine-tiny/load.ts'
import { readOnnx } from '../../model/onnx/onnx-reader.ts'
import { readTensorMap } from '../../model/tensor-map.ts'
import { readTflite } from '../../model/tflite/tflite-reader.ts'
import { operatorKinds, operatorVectors } from '../fixtures/int8-operators.ts'
import { loweredNetworks } from '../fixtures/lowered-networks.ts'
import { unsoundness } from '../fixtures/tensor-map-check.ts'
import { smallTflite } from '../fixtures/tflite-builder.ts'
import { wideGraphs } from '../fixtures/wide-graphs.ts'
import type { FuzzTarget } from './fuzz-run.ts'
import { codeOf, MIB, must } from './fuzz-soundness.ts'

function onnx(graph: Uint8Array): FuzzTarget {
  return {
    name: 'onnx',
    corpus: [graph],
    weight: 2,
    allocationBytes: 32 * MIB,
    run: (input) => codeOf(readOnnx(input)),
  }
}

function tflite(model: Uint8Array): FuzzTarget {
  return {
    name: 'tflite',
    corpus: [model],
    weight: 4,
    allocationBytes: 4 * MIB,
    // Offsets lead to everything that is read; a file of any size may carry more.
    ignoresTail: true,
    run: (input) => codeOf(readTflite(input)),
  }
}

/** Bytes of memory and work of a node up to which a graph that loads is run too: enough for all operators, and quick. */
const RUN_BYTES = MIB / 4
const RUN_WORK = 2 ** 22

const graphsOfOperators = (each: number): Uint8Array[] =>
  operatorKinds().flatMap((kind) =>
    operatorVectors(kind)
      .slice(0, each)
      .map(({ graph }) => graph),
  )

/** What loads is run, with guards. No kernel may trap, write outside its outputs or let a byte that nobody made reach an output: two runs over
 *  different dead bytes give the same. */
function runGraph(file: Uint8Array): string {
  const load = (guard: number) => loadTinyFile(file, { guard, workMax: RUN_WORK })
  const outputs = (graph: TinyGraph): string => {
    for (const [at, { bytes }] of graph.inputs.entries()) {
      graph.inputBytes(at).set(Uint8Array.from({ length: bytes }, (_, i) => (i * 37 + 11) & 0xff))
    }
    graph.run()
    return graph.outputs
      .map(({ elementType }, at) => {
        const bytes = graph.outputBytes(at).slice()
        // WebAssembly leaves sign and payload of what is no number open: they change when its compiler takes another turn.
        if (elementType === 'float32') {
          const floats = new Float32Array(bytes.buffer)
          for (const [index, value] of floats.entries()) if (Number.isNaN(value)) floats[index] = Number.NaN
        }
        return Buffer.from(bytes).toString('hex')
      })
      .join()
  }
  const first = load(0xa5)
  if (!first.ok) return first.error.code
  const { fileBytes, stateBytes, arenaBytes, recordBytes, scratchBytes } = first.value.memory
  if (fileBytes + stateBytes + arenaBytes + recordBytes + scratchBytes > RUN_BYTES) return 'too large to run here'
  const second = load(0x5a)
  must(second.ok && outputs(first.value) === outputs(second.value), 'an output of bytes that nobody made')
  // Other weights, scales and bounds make another graph, which runs as well.
  return 'ran'
}

/** Files of graphs whose bytes were changed anywhere: of TFLite, or of ONNX, which are lowered first. */
function tiny(name: string, corpus: readonly Uint8Array[], weight: number): FuzzTarget {
  return {
    ...{ name, corpus, weight },
    allocationBytes: 96 * MIB,
    ignoresTail: true,
    run(input, isOriginal) {
      const code = runGraph(input)
      return isOriginal && code === 'ran' ? 'accepted' : code
    },
  }
}

/** What a lie makes of a word: sizes and indices at their edges. */
const LIES: readonly ((word: number) => number)[] = [
  ...[() => 0, () => 1, () => -1, () => 2, () => 3, () => 8, () => 127, () => 255, () => 4_096, () => 0x7fffffff],
  ...[(word: number) => word + 1, (word: number) => word - 1, (word: number) => 2 * word, (word: number) => -word],
  ...[(word: number) => word ^ 0x80, (word: number) => word ^ 0x80000000],
]

/** Graphs that are well-formed files and lie about shapes, axes, strides, scales, indices. The input says which graph and what in it: two bytes the graph, then four
 *  a lie: two bytes where, one whether a word or a byte, one what. Words that are small numbers are met first, for offsets are the reader's. */
function tinyLies(name: string, graphs: readonly Uint8Array[]): FuzzTarget {
  const places = graphs.map((graph) => {
    const view = new DataView(graph.buffer, graph.byteOffset, graph.length)
    const words = Array.from({ length: Math.floor(graph.length / 4) }, (_, at) => 4 * at)
    return words.filter((at) => Math.abs(view.getInt32(at, true)) <= 64 && view.getInt32(at, true) !== 0)
  })
  return {
    name,
    corpus: [Uint8Array.of(0, 0), Uint8Array.of(0, 9, 0, 7, 0, 0), Uint8Array.of(0, 77, 0, 3, 0, 0, 0, 30, 1, 10)],
    weight: 8,
    allocationBytes: 96 * MIB,
    ignoresTail: true,
    run(input, isOriginal) {
      const which = (256 * (input[0] ?? 0) + (input[1] ?? 0)) % graphs.length
      const file = Uint8Array.from(graphs[which]!)
      const view = new DataView(file.buffer)
      for (let at = 2; at + 4 <= Math.min(input.length, 18); at += 4) {
        const [high = 0, low = 0, kind = 0, lie = 0] = input.subarray(at, at + 4)
        const likely = places[which]!
        const place = likely[(256 * high + low) % likely.length]!
        const change = LIES[lie % LIES.length]!
        if (kind % 4 === 1) file[place + (kind >> 6)] = change(file[place + (kind >> 6)]!)
        else view.setInt32(place, change(view.getInt32(place, true)), true)
      }
      const code = runGraph(file)
      return isOriginal ? 'accepted' : code
    },
  }
}

/** The same of ONNX graphs: bytes that may be changed and leave a file that can be read, which are sizes, counts, names, types and data. */
function loweringLies(graphs: readonly Uint8Array[]): FuzzTarget {
  // Found when a graph is first asked for: every target is built, whichever is run.
  const found = new Map<number, readonly number[]>()
  const placesIn = (which: number): readonly number[] => {
    const graph = graphs[which]!
    const places =
      found.get(which) ??
      Array.from(graph.keys()).filter((at) => {
        const changed = Uint8Array.from(graph)
        changed[at]! ^= 1
        return readOnnx(changed).ok
      })
    found.set(which, places)
    return places
  }
  return {
    name: 'lowering-lies',
    corpus: [Uint8Array.of(0), Uint8Array.of(1, 0, 7, 0), Uint8Array.of(5, 0, 77, 3, 1, 10, 9)],
    weight: 6,
    allocationBytes: 96 * MIB,
    ignoresTail: true,
    run(input, isOriginal) {
      const which = (input[0] ?? 0) % graphs.length
      const [file, places] = [Uint8Array.from(graphs[which]!), placesIn(which)]
      for (let at = 1; at + 3 <= Math.min(input.length, 10); at += 3) {
        const [high = 0, low = 0, lie = 0] = input.subarray(at, at + 3)
        const place = places[(256 * high + low) % places.length]!
        file[place] = LIES[lie % LIES.length]!(file[place]!)
      }
      const code = runGraph(file)
      return isOriginal ? 'accepted' : code
    },
  }
}

/** The map that an encoder of patches cuts files by: whatever it is made of, its pieces lie in the file and apart. */
function tensorMap(corpus: readonly Uint8Array[]): FuzzTarget {
  return {
    name: 'tensor-map',
    corpus,
    weight: 4,
    allocationBytes: 32 * MIB,
    run(input) {
      const map = readTensorMap(input)
      if (map.ok) {
        const why = unsoundness(input.length, map.value)
        must(why === null, `a tensor map with ${why}`)
      }
      return codeOf(map)
    },
  }
}

/** Readers of model files.
 *  @param graph an ONNX file */
export function modelTargets(graph: Uint8Array): readonly FuzzTarget[] {
  const model = smallTflite()
  const bundle = encodeBundle([{ name: 'graph/full', data: model }])
  const wide = wideGraphs()
  return [
    ...[onnx(graph), tflite(model), tensorMap([graph, model, bundle])],
    ...[tiny('tiny', graphsOfOperators(2), 2), tinyLies('tiny-lies', graphsOfOperators(6))],
    ...[tiny('tiny-wide', wide, 2), tinyLies('tiny-wide-lies', wide), tiny('lowering', loweredNetworks(), 2)],
    loweringLies(loweredNetworks()),
  ]
}
