import { FRONT_END_BASE64 } from './front-end-bytes.ts'

/** What is used of the platform's WebAssembly; the project compiles without the DOM's types. */
// eslint-disable-next-line no-restricted-syntax -- portable.d.ts is not seen by the whole project, where no types have WebAssembly
declare const WebAssembly:
  | undefined
  | {
      readonly validate: (bytes: Uint8Array) => boolean
      readonly Module: new (bytes: Uint8Array) => object
      readonly Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
      readonly Instance: new (module: object, imports: object) => { readonly exports: object }
    }

/** An instance of `wasm/front-end.ts`; its functions work on its memory, at the addresses it was given. */
export type FrontEndWasm = {
  readonly memory: ArrayBuffer
  readonly measure: (blocks: number) => void
  readonly analyse: (frames: number) => void
  readonly normalise: (frames: number, divisor: number) => void
  /** Part of the others, for its test: logarithms of the float64 values in the first `bytes` at the address `logs`, in place. */
  readonly logarithms: (bytes: number) => void
}

/** A page of the WebAssembly format. */
const PAGE_BYTES = 65_536

/** Compiled once: 4 KB, within what engines compile while the caller waits. */
const compiled: { module?: object } = {}

/** @param memoryBytes size of its memory, which never grows: views of it stay valid
 *  @param layout sizes and addresses, by the names under which `wasm/front-end.ts` declares them
 *  @throws Error when the platform has no WebAssembly SIMD (Node 20 and every current browser have it) */
export const frontEndWasm = (memoryBytes: number, layout: Readonly<Record<string, number>>): FrontEndWasm => {
  if (typeof WebAssembly === 'undefined') throw new Error('the feature front end needs WebAssembly')
  if (compiled.module === undefined) {
    const bytes = Uint8Array.from(atob(FRONT_END_BASE64), (character) => character.charCodeAt(0))
    if (!WebAssembly.validate(bytes)) throw new Error('the feature front end needs WebAssembly with 128-bit SIMD')
    compiled.module = new WebAssembly.Module(bytes)
  }
  const pages = Math.ceil(memoryBytes / PAGE_BYTES)
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
  const instance = new WebAssembly.Instance(compiled.module, { env: { memory }, 'front-end': layout })
  const { measure, analyse, normalise, logarithms } = instance.exports as Omit<FrontEndWasm, 'memory'>
  return { memory: memory.buffer, measure, analyse, normalise, logarithms }
}
