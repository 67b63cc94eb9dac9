/** What is there, or there is a bug: for what another part has made sure of and the types cannot say. An expected absence is handled
 *  where it is found, and not here.
 *  @param what would be missing, for who reads the message: "the session of the ladder level"
 *  @throws Error when it is */
export function present<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new Error(`${what} is missing`)
  return value
}
