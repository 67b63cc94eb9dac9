import { provision } from '../../device/core/flash/provision.ts'
import { FlashNor } from '../../firmware-sim/flash-nor.ts'

/** A device fresh from the factory. */
export function provisioned(image: Uint8Array): FlashNor {
  const flash = new FlashNor({ sizeBytes: 1024 * 1024 })
  const done = provision(flash, image, 1)
  if (!done.ok) throw new Error(done.error.detail)
  return flash
}
