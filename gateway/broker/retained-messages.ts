import { Readable } from 'node:stream'
import type { AedesPublishPacket } from 'aedes'

/** Retained messages of the contract's topics, found in a time that does not depend on how many there are. A gateway retains one for each device
 *  that it holds an assignment for; the memory of aedes compares every one of them with every filter of every SUBSCRIBE, which made a device's
 *  connect a hundred times dearer where 100 000 were held. */
export class RetainedMessages {
  /** by all levels but the last, then by topic: a device's own few */
  readonly #folders = new Map<string, Map<string, AedesPublishPacket>>()

  /** Keeps a message; one without payload takes the former away. */
  store(packet: AedesPublishPacket): void {
    const { topic, payload } = packet
    const folder = folderOf(topic)
    const messages = this.#folders.get(folder)
    if (payload.length === 0) {
      messages?.delete(topic)
      if (messages?.size === 0) this.#folders.delete(folder)
    } else if (messages === undefined) this.#folders.set(folder, new Map([[topic, { ...packet }]]))
    else messages.set(topic, { ...packet })
  }

  /** @param filter one that admission lets a device subscribe: a topic, a device's own `#`, or a last level of `+`. Of others only what is right
   *    below them is found. */
  *matching(filter: string): Iterable<AedesPublishPacket> {
    const messages = this.#folders.get(folderOf(filter))
    const last = filter.slice(folderOf(filter).length)
    if (last === '#' || last === '+') yield* messages?.values() ?? []
    else {
      const message = messages?.get(filter)
      if (message !== undefined) yield message
    }
  }

  /** Takes the place of a persistence's own memory of them.
   *  @param persistence of aedes; the rest of it, sessions that are not kept here, stays as it is */
  serve(persistence: unknown): void {
    const store = async (packet: AedesPublishPacket): Promise<void> => this.store(packet)
    const all = (filters: readonly string[]) => filters.flatMap((filter) => [...this.matching(filter)])
    Object.assign(persistence as object, {
      storeRetained: store,
      createRetainedStream: (filter: string) => Readable.from(all([filter])),
      createRetainedStreamCombi: (filters: readonly string[]) => Readable.from(all(filters)),
    })
  }
}

const folderOf = (topic: string): string => topic.slice(0, topic.lastIndexOf('/') + 1)
