/** What is used of the platform's WebAssembly; the project compiles without the DOM's types. */
// eslint-disable-next-line no-restricted-syntax -- portable.d.ts is not seen by the whole project, where no types have WebAssembly
declare const WebAssembly:
  | undefined
  | {
      readonly Module: new (bytes: Uint8Array) => object
      readonly Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
      readonly Instance: new (module: object, imports: object) => { readonly exports: object }
    }

/** A page of the WebAssembly format. */
const PAGE_BYTES = 65_536

/** A module compiled at its first use and shared by all its instances: a few KB, within what engines compile while the caller waits. */
export class SimdModule {
  readonly #base64: string
  readonly #what: string
  #module: object | undefined

  /** @param base64 bytes of the module, which imports `env.memory`
   *  @param what it is for, in the message where it cannot run: "the feature front end" */
  constructor(base64: string, what: string) {
    this.#base64 = base64
    this.#what = what
  }

  /** @param memoryBytes size of the instance's memory, which never grows: views of it stay valid
   *  @param imports besides the memory
   *  @throws Error when the platform has no WebAssembly SIMD (Node 20 and every current browser have it) */
  instance(memoryBytes: number, imports: object = {}): { readonly memory: ArrayBuffer; readonly exports: object } {
    if (typeof WebAssembly === 'undefined') throw new Error(`${this.#what} needs WebAssembly`)
    if (this.#module === undefined) {
      const bytes = bytesOfBase64(this.#base64)
      try {
        // Compiling validates: to ask first would be to validate twice.
        this.#module = new WebAssembly.Module(bytes)
      } catch (cause) {
        throw new Error(`${this.#what} needs WebAssembly with 128-bit SIMD`, { cause })
      }
    }
    const pages = Math.ceil(memoryBytes / PAGE_BYTES)
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
    const { exports } = new WebAssembly.Instance(this.#module, { env: { memory }, ...imports })
    return { memory: memory.buffer, exports }
  }
}

/** Decodes what `npm run build:wasm` wrote, in a loop: a call for each character took eight times as long (17 ms of core time against 2). */
function bytesOfBase64(base64: string): Uint8Array {
  const text = atob(base64)
  const bytes = new Uint8Array(text.length)
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at)
  return bytes
}
