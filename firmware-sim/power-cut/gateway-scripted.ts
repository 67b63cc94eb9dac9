import { bytesToHex } from '../../contract/bytes.ts'
import { blockCodec, EVENT_CODES, type EventCode, encodeBlock, eventCodec, getCodec } from '../../contract/messages.ts'
import { present } from '../../contract/present.ts'
import type { UplinkKind } from '../../contract/topics.ts'
import type { Transport, TransportEvent } from '../../device/ports/transport.ts'
import { answerMeta, type MemoryRepository } from '../memory-repository.ts'
import { digestOf } from './power-cut-promises.ts'

/** A gateway in memory for one device, whose answers wait until they are delivered: one turn at a time, always in the same order. */
export class ScriptedGateway implements Transport {
  /** the retained assignment */
  assignment: Uint8Array | undefined
  /** false: takes nothing, so that a trial is not confirmed */
  acknowledges = true
  readonly artifacts: ReadonlyMap<string, Uint8Array>
  /** bytes of blocks that were delivered while somebody was there to take them */
  blockBytes = 0
  isHeard: () => boolean = () => true
  /** asked before a block is delivered: whether the link breaks before it, after it, or not */
  breaksLink: () => 'before' | 'after' | undefined = () => undefined
  readonly #repository: MemoryRepository
  /** events taken, in order; "code" or "code: error" */
  readonly story: string[] = []
  readonly eventCodes: EventCode[] = []
  /** digests of the messages that were acknowledged */
  readonly taken = new Set<string>()
  #listener: ((event: TransportEvent) => void) | undefined
  #answers: TransportEvent[] = []

  /** @param artifacts by sha256, hex */
  constructor(artifacts: ReadonlyMap<string, Uint8Array>, repository: MemoryRepository) {
    this.artifacts = artifacts
    this.#repository = repository
  }

  open(listener: (event: TransportEvent) => void): void {
    this.#listener = listener
    this.#answers = [{ type: 'connected' }]
    if (this.assignment !== undefined) this.#assign()
  }

  async close(): Promise<void> {
    this.#listener = undefined
    this.#answers = []
  }

  publish(id: number, kind: UplinkKind, payload: Uint8Array): void {
    if (this.#listener === undefined) return
    if (kind === 'get') {
      this.#serve(payload)
      return
    }
    if (kind === 'meta-get') {
      const answer = answerMeta((name) => this.#repository.file(name), payload)
      this.#answers.push({ type: 'received', kind: 'meta', payload: answer })
      return
    }
    if (!this.acknowledges || !this.isHeard()) return
    this.taken.add(digestOf(payload))
    const event = kind === 'event' ? eventCodec.decode(payload) : undefined
    if (event?.ok) {
      const code = present(EVENT_CODES[event.value.code], 'a code within the bound of the codec')
      this.eventCodes.push(code)
      this.story.push(event.value.error === undefined ? code : `${code}: ${event.value.error}`)
    }
    this.#answers.push({ type: 'published', id })
  }

  assign(document: Uint8Array): void {
    this.assignment = document
    if (this.#listener !== undefined) this.#assign()
  }

  /** Delivers what has been answered so far.
   *  @returns whether there was anything */
  deliver(): boolean {
    const answers = this.#answers
    this.#answers = []
    for (const answer of answers) {
      const isBlock = answer.type === 'received' && answer.kind === 'block'
      const breaks = isBlock ? this.breaksLink() : undefined
      if (breaks === 'before') {
        this.#breakLink()
        break
      }
      if (isBlock && this.isHeard()) this.blockBytes += answer.payload.length
      this.#listener?.(answer)
      if (breaks === 'after') {
        this.#breakLink()
        break
      }
    }
    return answers.length > 0
  }

  /** The link breaks and comes back. */
  reconnect(): void {
    if (this.#listener !== undefined) this.#breakLink()
  }

  /** Everything that is under way is lost; the device is connected again in the next turn. */
  #breakLink(): void {
    this.#listener?.({ type: 'disconnected', reason: 'the link broke' })
    this.#answers = [{ type: 'connected' }]
    if (this.assignment !== undefined) this.#assign()
  }

  #assign(): void {
    this.#answers.push({ type: 'received', kind: 'assign', payload: present(this.assignment, 'the assignment') })
  }

  #serve(request: Uint8Array): void {
    const { sha256, block } = answerGet(this.artifacts, request)
    this.#answers.push({ type: 'received', kind: 'block', sha256, payload: block })
  }
}

/** A gateway's answer to a request for a block. Throws on a request that is none: the device has a bug.
 *  @param artifacts by sha256, hex */
export function answerGet(
  artifacts: ReadonlyMap<string, Uint8Array>,
  request: Uint8Array,
): { readonly sha256: string; readonly offset: number; readonly block: Uint8Array } {
  const get = getCodec.decode(request)
  if (!get.ok) throw new Error(`the device asked for ${get.error.detail}`)
  const { offset, length } = get.value
  const sha256 = bytesToHex(get.value.sha256)
  const artifact = artifacts.get(sha256)
  const block =
    artifact === undefined
      ? blockCodec.encode({ offset, totalBytes: 0, error: 'artifact-not-found' })
      : encodeBlock(artifact, offset, length)
  return { sha256, offset, block }
}
