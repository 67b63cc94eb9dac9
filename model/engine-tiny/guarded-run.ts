import type { ByteRange } from '../element-type.ts'

export interface GuardedNode {
  readonly where: string
  readonly writes: readonly ByteRange[]
}

/** Runs a graph for tests, node by node: before a run all of the arena but the inputs is filled with a pattern, so that whoever reads what
 *  nobody made computes something else; after each node every byte of the memory that is not its to write must be what it was. */
export class GuardedRun {
  readonly #memory: Uint8Array
  readonly #guard: number
  readonly #arena: ByteRange
  readonly #inputs: readonly ByteRange[]
  readonly #nodes: readonly GuardedNode[]

  /** @param memory the whole of it; ranges are in it */
  constructor(
    memory: Uint8Array,
    graph: {
      readonly guard: number
      readonly arena: ByteRange
      readonly inputs: readonly ByteRange[]
      readonly nodes: readonly GuardedNode[]
    },
  ) {
    this.#memory = memory
    this.#guard = graph.guard
    this.#arena = graph.arena
    this.#inputs = graph.inputs
    this.#nodes = graph.nodes
  }

  /** @throws Error that names the node and the byte it had no right to write */
  run(runNode: (node: number) => void): void {
    const memory = this.#memory
    // Pages of WebAssembly; word by word, since looking at each byte takes longer than all kernels.
    const words = new Int32Array(memory.buffer)
    const kept = this.#inputs.map((range) => slice(memory, range).slice())
    slice(memory, this.#arena).fill(this.#guard)
    for (const [at, range] of this.#inputs.entries()) slice(memory, range).set(kept[at] ?? [])
    for (const [at, { where, writes }] of this.#nodes.entries()) {
      const before = memory.slice()
      runNode(at)
      for (const range of writes) slice(before, range).set(slice(memory, range))
      if (!same(words, new Int32Array(before.buffer))) {
        const changed = memory.findIndex((byte, address) => byte !== before[address])
        throw new Error(`${where} wrote byte ${changed}, which is not in its outputs`)
      }
    }
  }
}

function same(words: Int32Array, others: Int32Array): boolean {
  for (let at = 0; at < words.length; at++) if (words[at] !== others[at]) return false
  return true
}

const slice = (bytes: Uint8Array, { offset, length }: ByteRange): Uint8Array => bytes.subarray(offset, offset + length)
