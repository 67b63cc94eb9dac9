/** What tells how warm a device is: a sensor of its chip or its housing. */
export interface Thermometer {
  /** °C now; undefined when it cannot be read. Asked each time that the battery is looked at. */
  celsius(): number | undefined
}
