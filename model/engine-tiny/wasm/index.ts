// Kernels of the engine `tiny`, compiled by `npm run build:wasm` into ../tiny-bytes.ts. A kernel has one argument: the address of its words of
// 32 bits, which ../kernels wrote after checking every size, so that no kernel reads outside its inputs or writes outside its outputs
// and its scratch. Addresses among the words are absolute.

export { copyBytes, copyStrided, fillBytes } from './copy'
export { fullyConnected } from './fully-connected'
