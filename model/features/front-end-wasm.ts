import { SimdModule } from '../web-assembly.ts'
import { FRONT_END_BASE64 } from './front-end-bytes.ts'

/** An instance of `wasm/front-end.ts`; its functions work on its memory, at the addresses it was given. */
export type FrontEndWasm = {
  readonly memory: ArrayBuffer
  readonly measure: (blocks: number) => void
  readonly analyse: (frames: number) => void
  readonly normalise: (frames: number, divisor: number) => void
  /** Part of the others, for its test: logarithms of the float64 values in the first `bytes` at the address `logs`, in place. */
  readonly logarithms: (bytes: number) => void
}

const FRONT_END = new SimdModule(FRONT_END_BASE64, 'the feature front end')

/** @param memoryBytes size of its memory, which never grows: views of it stay valid
 *  @param layout sizes and addresses, by the names under which `wasm/front-end.ts` declares them
 *  @throws Error when the platform has no WebAssembly SIMD (Node 20 and every current browser have it) */
export const frontEndWasm = (memoryBytes: number, layout: Readonly<Record<string, number>>): FrontEndWasm => {
  const { memory, exports } = FRONT_END.instance(memoryBytes, { 'front-end': layout })
  const { measure, analyse, normalise, logarithms } = exports as Omit<FrontEndWasm, 'memory'>
  return { memory, measure, analyse, normalise, logarithms }
}
