import type { Transport } from '../device/ports/transport.ts'

/** A device out of coverage: it never connects, and keeps its messages. */
export const SILENT_TRANSPORT: Transport = {
  open: () => undefined,
  publish: () => undefined,
  close: async () => undefined,
}
