import type { TotalLimits } from './allowance.ts'

/** What a gateway serves of artifacts by default, all devices together. In a file without imports, since the command's help names them.
 *  Chosen: half of a gigabit link, and the requests of a thousand devices that all begin at once; a site with a thinner link says so. */
export const DOWNLOAD_LIMITS: TotalLimits = {
  concurrent: 4_096,
  bytesPerSecond: 64 * 1024 * 1024,
  burstBytes: 64 * 1024 * 1024,
}
