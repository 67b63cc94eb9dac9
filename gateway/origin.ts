import type { DeviceId, SiteId } from '../contract/topics.ts'

/** Who sent a message, as its token says. */
export interface Origin {
  readonly site: SiteId
  readonly device: DeviceId
  readonly board: string
}
