import { LIMITS } from './limits.ts'

/** Ids of devices, sites and gateways, as they are stored and compared: letters, digits, dashes, underscores, dots and colons, so that serial
 *  numbers, UUIDs and MAC addresses are ids as they stand. One topic level, one segment of a path, and no `|`, which joins keys. */
export const ID_PATTERN = new RegExp(`^[a-z0-9][a-z0-9._:-]{0,${LIMITS.idLength - 1}}$`)
/** As people and makers write them: the case says nothing. ASCII only, so that there is one lower case. */
export const GIVEN_ID_PATTERN = new RegExp(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,${LIMITS.idLength - 1}}$`)

/** Whether it is an id in the form in which ids are stored and compared. */
export const isId = (text: string): boolean => ID_PATTERN.test(text)
/** The form in which an id is stored and compared; undefined: it is none. To be called wherever an id comes in. */
export const canonicalId = (text: string): string | undefined =>
  GIVEN_ID_PATTERN.test(text) ? text.toLowerCase() : undefined
/** What an id is made of, for people who gave none. */
export const ID_WORDS = `an id has 1 to ${LIMITS.idLength} letters, digits, dashes, underscores, dots and colons, and begins with a letter or digit`

/** Names of releases, families, graphs and roles: file names and folders are made of them. */
export const NAME_PATTERN = new RegExp(`^[a-z0-9][a-z0-9-]{0,${LIMITS.nameLength - 1}}$`)
/** What a name is made of, for people who gave none. */
export const NAME_WORDS = `a name has 1 to ${LIMITS.nameLength} lower-case letters, digits and dashes, and begins with a letter or digit`
