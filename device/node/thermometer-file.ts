import { readFileSync } from 'node:fs'
import type { Thermometer } from '../ports/thermometer.ts'

/** A thermometer of Linux: a file with thousandths of a degree, such as /sys/class/thermal/thermal_zone0/temp.
 *  @see Documentation/driver-api/thermal/sysfs-api.rst of the kernel */
export class ThermometerFile implements Thermometer {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  celsius(): number | undefined {
    try {
      const text = readFileSync(this.#path, 'utf8').trim()
      return /^-?\d{1,6}$/.test(text) ? Number(text) / 1_000 : undefined
    } catch {
      // A sensor that is asleep answers with an error.
      return undefined
    }
  }
}
