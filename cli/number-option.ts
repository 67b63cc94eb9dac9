import { InvalidArgumentError } from 'commander'

/** Parser of an option that counts something, within bounds; the bounds are part of the message. */
export const integerOption = (min: number, max: number) => {
  const parse = numberOption(min, max)
  return (text: string): number => {
    const value = parse(text)
    if (!Number.isInteger(value)) throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}.`)
    return value
  }
}

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
