/** Models as Kinglet sees them: opening and packing bundles, what a graph needs of a board, where the tensors of a file lie, sound and
 *  features, and the engine `tiny` for quantized graphs. Portable; `kinglet/model/onnxruntime-node` is another engine, and `Engine` is what a third has to be. */

export { createResampler, type Resampler, resample } from './audio/resample.ts'
export { encodeWav, parseWav, type Wav, type WavError, type WavOptions } from './audio/wav.ts'
export { BOARDS, type Board, boardNamed, inferenceMillijoule, inferenceMs, modelRamBytes } from './boards.ts'
export type { ByteRange, ElementType } from './element-type.ts'
export type { Engine, EngineError, EngineErrorCode, EngineInput, EngineIo, EngineSession } from './engine/engine.ts'
export type { IoElementType, Quantization, TensorIo } from './engine/tensor-io.ts'
export { engineByFormat } from './engine-by-format.ts'
export { EngineTiny, type TinySession } from './engine-tiny/engine-tiny.ts'
export {
  checkFeatureDefinition,
  createFeatureStream,
  type FeatureDefinition,
  type FeatureShape,
  featureShape,
  microFeatures,
} from './features/feature-definition.ts'
export type { FeatureStream } from './features/feature-stream.ts'
export { createLogMel, type LogMel } from './features/log-mel.ts'
export { checkLogMelDefinition, type LogMelDefinition, logMelDefinition } from './features/log-mel-definition.ts'
export { createMfcc } from './features/mfcc.ts'
export {
  checkMfccDefinition,
  type MfccDefinition,
  mfccDefinitionHighPass,
  mfccDefinitionV1,
} from './features/mfcc-definition.ts'
export { createMfccStream } from './features/mfcc-stream.ts'
export { createMicroFrontend, type MicroFrontend, quantizeMicroFrame } from './features/micro-frontend.ts'
export {
  checkMicroFrontendDefinition,
  type MicroFrontendDefinition,
  microFrontendDefinition,
} from './features/micro-frontend-definition.ts'
export { dequantizeFeatures, quantizeFeatures } from './features/quantize.ts'
export {
  checkVectorWindowDefinition,
  createVectorWindows,
  type VectorWindowDefinition,
  type VectorWindows,
} from './features/vector-windows.ts'
export type { MappedQuantization, MappedTensor, TensorRole } from './mapped-tensor.ts'
export { checkGolden, type GraphNeeds, graphNeeds, type OpenedBundle, openBundle } from './opened-bundle.ts'
export { type Packed, type PackInput, packBundle, releaseOf } from './pack.ts'
export { type ArenaPlan, type ModelPlan, type Placement, planModel, RUNTIME_COSTS } from './plan/arena-planner.ts'
export { readTensorMap, type TensorMap, type TensorMapError } from './tensor-map.ts'
