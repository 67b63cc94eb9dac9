import { InvalidArgumentError } from 'commander'
import { NAME_PATTERN, NAME_WORDS } from '../contract/id.ts'

/** Parser of the name of a model family. */
export function familyOption(text: string): string {
  if (!NAME_PATTERN.test(text)) throw new InvalidArgumentError(`${NAME_WORDS}.`)
  return text
}
