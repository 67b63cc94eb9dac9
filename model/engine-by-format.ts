import type { Engine } from './engine/engine.ts'
import { hasTfliteIdentifier } from './tflite/tflite-reader.ts'

/** An engine that has each graph run by the one that reads its format.
 *  @param tflite for files with TFLite's identifier
 *  @param onnx for all others */
export const engineByFormat = ({ tflite, onnx }: { readonly tflite: Engine; readonly onnx: Engine }): Engine => ({
  name: `${onnx.name}, ${tflite.name}`,
  load: (graph, io) => (hasTfliteIdentifier(graph) ? tflite : onnx).load(graph, io),
})
