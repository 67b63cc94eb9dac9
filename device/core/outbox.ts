import { decode as cborDecode, encode as cborEncode } from 'cborg'
import { LIMITS } from '../../contract/limits.ts'
import { reportCodec } from '../../contract/messages.ts'

export type OutboxKind = 'report' | 'wake' | 'event'

export interface OutboxMessage {
  /** rises by one with each message of this boot; names it to the transport */
  readonly id: number
  readonly kind: OutboxKind
  readonly payload: Uint8Array
  readonly inFlight: boolean
}

/** Store-and-forward queue: messages stay until the broker has acknowledged them. */
export interface Outbox {
  readonly nextId: number
  readonly messages: readonly OutboxMessage[]
  readonly dropped: number
}

/** Chosen: 96 messages, mostly wakes of about 550 bytes, are at most 52 kB: what a board can spare. The flash spool holds 32 kB of them. */
export const OUTBOX_MESSAGES_MAX = 96
/** Chosen: a device has few unacknowledged messages on the air at once. */
const IN_FLIGHT_MAX = 8

export const EMPTY_OUTBOX: Outbox = { nextId: 1, messages: [], dropped: 0 }

/** Adds a message; at the bound one is dropped, counted and reported (see `leastMissed`). */
export function enqueue(outbox: Outbox, kind: OutboxKind, payload: Uint8Array): Outbox {
  const messages = [...outbox.messages, { id: outbox.nextId, kind, payload, inFlight: false }]
  if (messages.length <= OUTBOX_MESSAGES_MAX) return { ...outbox, nextId: outbox.nextId + 1, messages }
  const victim = leastMissed(messages)
  return {
    nextId: outbox.nextId + 1,
    messages: messages.filter((message) => message !== victim),
    dropped: outbox.dropped + 1,
  }
}

/** Chosen: two days of hourly reports, and more events than a device has in them. Beyond its share a kind makes room for its own, so that
 *  wakes are not lost for the sake of what is known more coarsely without them. */
const REPORTS_SHARE = 48
const EVENTS_SHARE = 32

/** The message whose loss matters least. A wake never costs a report or an event: of them there are few, and counters and verdicts on
 *  updates hang on each; of wakes a detector that is stuck makes any number. So the oldest wake goes first, be it the new one; then the
 *  oldest report that a later one of the same boot contains, then the oldest event. The last report of an earlier boot goes only when
 *  there is nothing else: no other message has its counters. */
export function leastMissed(messages: readonly OutboxMessage[]): OutboxMessage | undefined {
  const newest = messages.at(-1)?.kind
  const first = (wanted: OutboxKind) => messages.find(({ kind }) => kind === wanted)
  const beyond = (wanted: OutboxKind, share: number) =>
    newest === wanted && messages.filter(({ kind }) => kind === wanted).length > share
  if (beyond('event', EVENTS_SHARE)) return first('event')
  const wake = first('wake')
  if (wake !== undefined && !beyond('report', REPORTS_SHARE)) return wake
  return contained(messages) ?? wake ?? first('event') ?? messages[0]
}

function contained(messages: readonly OutboxMessage[]): OutboxMessage | undefined {
  const reports = messages.filter(({ kind }) => kind === 'report')
  // A single report contains nothing but itself, and is not decoded to learn that.
  const boots = reports.length < 2 ? [] : reports.map(bootOf)
  return reports.find((_, i) => boots.indexOf(boots[i], i + 1) > 0)
}

function bootOf({ payload }: OutboxMessage): string | undefined {
  const report = reportCodec.decode(payload)
  return report.ok ? `${report.value.incarnation ?? 0}/${report.value.boot}` : undefined
}

/** Marks messages for sending, oldest first, within the in-flight bound. */
export function takeForSending(outbox: Outbox): {
  readonly outbox: Outbox
  readonly sending: readonly OutboxMessage[]
} {
  let free = IN_FLIGHT_MAX - outbox.messages.filter(({ inFlight }) => inFlight).length
  if (free <= 0 || outbox.messages.length === 0) return { outbox, sending: [] }
  const sending: OutboxMessage[] = []
  const messages = outbox.messages.map((message) => {
    if (message.inFlight || free <= 0) return message
    free--
    const sent = { ...message, inFlight: true }
    sending.push(sent)
    return sent
  })
  return sending.length === 0 ? { outbox, sending } : { outbox: { ...outbox, messages }, sending }
}

export const acknowledge = (outbox: Outbox, id: number): Outbox => ({
  ...outbox,
  messages: outbox.messages.filter((message) => message.id !== id),
})

/** After a disconnect nothing is on the air: all of it will be sent again, which receivers tolerate. */
export const forgetInFlight = (outbox: Outbox): Outbox => ({
  ...outbox,
  messages: outbox.messages.map((message) => (message.inFlight ? { ...message, inFlight: false } : message)),
})

const KINDS: readonly OutboxKind[] = ['report', 'wake', 'event']
const MESSAGE_BYTES_MAX = Math.max(LIMITS.reportBytes, LIMITS.wakeBytes, LIMITS.eventBytes)

/** Bytes for the flash spool. */
export const encodeSpool = (messages: readonly OutboxMessage[]): Uint8Array =>
  cborEncode(messages.map(({ kind, payload }) => [KINDS.indexOf(kind), payload]))

/** Reads a spool; anything malformed yields an empty outbox, for a torn spool must not stop a boot. */
export function decodeSpool(data: Uint8Array): Outbox {
  let rows: unknown
  try {
    rows = cborDecode(data, { strict: true, allowIndefinite: false })
  } catch {
    return EMPTY_OUTBOX
  }
  if (!Array.isArray(rows) || rows.length > OUTBOX_MESSAGES_MAX) return EMPTY_OUTBOX
  const messages: OutboxMessage[] = []
  for (const row of rows as unknown[]) {
    const [kind, payload] = Array.isArray(row) ? (row as unknown[]) : []
    const name = KINDS[kind as number]
    if (name === undefined || !(payload instanceof Uint8Array) || payload.length > MESSAGE_BYTES_MAX)
      return EMPTY_OUTBOX
    messages.push({ id: messages.length + 1, kind: name, payload, inFlight: false })
  }
  return { nextId: messages.length + 1, messages, dropped: 0 }
}
