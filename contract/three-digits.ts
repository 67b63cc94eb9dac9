/** A number in three digits that count: what is 100 or more is whole, with every digit it has; what is smaller keeps its zeros after the
 *  point. The one way in which figures are told, by commands and by the status page, which is sent this function as it is written: it
 *  stands for itself and names nothing outside. */
export const threeDigits = (value: number): string =>
  Math.abs(value) >= 99.95 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))
