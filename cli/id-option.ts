import { InvalidArgumentError } from 'commander'
import { canonicalId, ID_WORDS } from '../contract/id.ts'

/** Parser of an id of a device, site or gateway: any case is taken, and the canonical one is meant. */
export function idOption(text: string): string {
  const id = canonicalId(text)
  if (id === undefined) throw new InvalidArgumentError(`${ID_WORDS}.`)
  return id
}

/** Parser of an option with an id that may be given more than once. */
export const eachIdOption = (text: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  idOption(text),
]
