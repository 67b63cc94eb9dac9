import type { DeviceRecord } from '../store/device-store.ts'
import type { CloudServices } from './environment.ts'

/** Gives an enrolled device what it is to run. To be called inside the transaction of the enrolment.
 *  @param model release that it comes with, which is recorded as its target where it is no production model; null: none is said */
export function admitDevice(
  { store, engine, clock }: CloudServices,
  enrolled: DeviceRecord,
  model: string | null,
): void {
  let device = enrolled
  const target = device.target === null ? undefined : store.models.byId(device.target)
  const boards = target?.content.boards ?? []
  if (boards.length > 0 && !boards.includes(device.board)) {
    // It has another board than before, which the model does not fit.
    store.devices.untarget(device.id, clock.wallMs())
    device = { ...device, target: null, rollout: null, stage: 0, arm: 'none' }
  }
  const wanted = model === null ? undefined : store.models.byName(model)
  const isOwn = wanted?.family === device.family
  if (wanted !== undefined && isOwn && wanted.state !== 'production' && device.target === null) {
    // A named model other than production is what the device left the factory with: recorded, signed like any other.
    store.devices.retarget(device.id, { release: wanted.id, rollout: null, stage: 0, arm: 'none' })
  } else engine.admit(device)
}
