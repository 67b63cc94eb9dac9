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
      if (!WebAssembly.validate(bytes)) throw new Error(`${this.#what} needs WebAssembly with 128-bit SIMD`)
      this.#module = new WebAssembly.Module(bytes)
    }
    const pages = Math.ceil(memoryBytes / PAGE_BYTES)
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
    const { exports } = new WebAssembly.Instance(this.#module, { env: { memory }, ...imports })
    return { memory: memory.buffer, exports }
  }
}

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

/** Decodes what `npm run build:wasm` wrote; a loop of its own, since `atob` and a call for each character took ten times as long as compiling
 *  the module.
 *  @see RFC 4648, section 4 */
function bytesOfBase64(text: string): Uint8Array {
  const values = new Uint8Array(128)
  for (let value = 0; value < BASE64.length; value++) values[BASE64.charCodeAt(value)] = value
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  const bytes = new Uint8Array((text.length / 4) * 3 - padding)
  for (let from = 0, to = 0; from < text.length; from += 4, to += 3) {
    const value = (at: number): number => values[text.charCodeAt(from + at)] ?? 0
    const word = (value(0) << 18) | (value(1) << 12) | (value(2) << 6) | value(3)
    // What is beyond the end is not kept.
    bytes[to] = word >> 16
    bytes[to + 1] = word >> 8
    bytes[to + 2] = word
  }
  return bytes
}
