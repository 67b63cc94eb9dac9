/** A bench without hardware: what stands for a device's chip, time, battery and air in tests. The rest of the simulator is the
 *  `kinglet` command's own. */
export { BatteryCell } from './battery-cell.ts'
export { VirtualClock } from './clock-virtual.ts'
export { FlashNor, type FlashNorOptions } from './flash-nor.ts'
export { SILENT_TRANSPORT } from './transport-silent.ts'
