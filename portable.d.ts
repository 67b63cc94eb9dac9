// What the pure parts use beyond ECMAScript: only what Node, every current browser and a worker have alike, take no time or chance from
// and reach nothing with. A name more here is a decision about where Kinglet can run, so it comes with its reason.
// The project as a whole does not see this file: there @types/node declares the same names.

/** UTF-8 is the text of every document and name that crosses a wire; ECMAScript itself has no bytes of a string. */
declare class TextEncoder {
  encode(text?: string): Uint8Array<ArrayBuffer>
}
declare class TextDecoder {
  /** @throws TypeError from `decode` with `fatal`, where bytes are no UTF-8 */
  constructor(encoding?: 'utf-8', options?: { fatal?: boolean; ignoreBOM?: boolean })
  decode(bytes?: Uint8Array): string
}

/** The front end's WebAssembly is in a source file as Base64, so that no bundler and no file system is needed to have it. */
declare function atob(base64: string): string
