import type { Engine } from '../model/engine/engine.ts'
import { EngineOrtNode } from '../model/engine/engine-ort-node.ts'
import { engineByFormat } from '../model/engine-by-format.ts'
import { EngineTiny } from '../model/engine-tiny/engine-tiny.ts'

/** What runs a bundle's graphs on this machine: the project's engine TFLite, ONNX Runtime the rest. */
export const bundleEngine = (): Engine => engineByFormat({ tflite: new EngineTiny(), onnx: new EngineOrtNode() })
