import { silenceBoundMs } from '../rollout/silence-bound.ts'
import type { AlertRecord } from '../store/alert-store.ts'
import type { Store } from '../store/store.ts'

/** Devices that have fallen silent, whatever they run: one alert a site, so that a site without power is one message and not a thousand. */
const DEVICES_SILENT = 'devices-silent'

/** chosen: nobody is called at night for a device that missed one daily report */
const BOUND_MS_MIN = 26 * 3_600_000

/** Devices of a site, how many of them are silent, and when the last of those was heard. */
interface SiteSilence {
  silent: number
  devices: number
  newestMs: number
}
export type Silence = ReadonlyMap<string, Readonly<SiteSilence>>

/** Who is silent, by site. Reads every device. */
export function readSilence(store: Store, nowMs: number): Silence {
  const revoked = store.identities.revokedDevices()
  const sites = new Map<string, SiteSilence>()
  for (const device of store.devices.enrolled()) {
    const site = sites.get(device.site) ?? { silent: 0, devices: 0, newestMs: 0 }
    sites.set(device.site, site)
    // What is known of it is its gateway's word, which is in doubt.
    if (store.gateways.isHeldOut(device.id)) continue
    // Who was never heard is not installed yet, and who was revoked cannot speak.
    if (device.lastSeenMs === 0 || (revoked.get(device.id) ?? -1) >= device.lastSeenMs) continue
    site.devices++
    if (nowMs - device.lastSeenMs <= Math.max(BOUND_MS_MIN, silenceBoundMs(device))) continue
    site.silent++
    site.newestMs = Math.max(site.newestMs, device.lastSeenMs)
  }
  return sites
}

/** Raises, renews and resolves. @returns alerts that are new, or of more devices than before */
export function lookForSilence(store: Store, nowMs: number, sites = readSilence(store, nowMs)): readonly AlertRecord[] {
  const raised: AlertRecord[] = []
  for (const open of store.alerts.allOpen()) {
    if (open.code !== DEVICES_SILENT) continue
    const silent = sites.get(open.metric)?.silent ?? 0
    if (silent !== open.numbers.silent) store.alerts.resolve(open.id, nowMs)
  }
  for (const [metric, { silent, devices, newestMs }] of sites) {
    if (silent === 0 || store.alerts.open(DEVICES_SILENT, metric, '') !== undefined) continue
    const numbers = { silent, devices, newestMs }
    const alert = { code: DEVICES_SILENT, metric, model: '', sinceMs: nowMs, ratio: silent / devices, numbers }
    raised.push(store.alerts.raise(alert))
    store.audit.append({ atMs: nowMs, actor: 'kinglet', action: 'alert.raised', subject: metric, detail: numbers })
  }
  return raised
}
