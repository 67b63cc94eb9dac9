import { InvalidArgumentError } from 'commander'

/** Parser of a numeric option within bounds; the bounds are part of the message. */
export const numberOption =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !Number.isFinite(value) || value < min || value > max) {
      throw new InvalidArgumentError(`expected a number from ${min} to ${max}.`)
    }
    return value
  }
