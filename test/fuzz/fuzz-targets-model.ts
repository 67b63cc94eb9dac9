import { encodeBundle } from '../../contract/bundle.ts'
import { readOnnx } from '../../model/onnx/onnx-reader.ts'
import { readTensorMap } from '../../model/tensor-map.ts'
import { readTflite } from '../../model/tflite/tflite-reader.ts'
import { unsoundness } from '../fixtures/tensor-map-check.ts'
import { smallTflite } from '../fixtures/tflite-builder.ts'
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
  return [onnx(graph), tflite(model), tensorMap([graph, model, bundle])]
}
