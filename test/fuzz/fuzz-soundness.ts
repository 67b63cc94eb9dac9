import type { Result } from '../../contract/result.ts'

export const MIB = 1024 * 1024

export const codeOf = (result: Result<unknown, { readonly code: string }>): string =>
  result.ok ? 'accepted' : result.error.code

class Unsound extends Error {
  override readonly name = 'Unsound'
}

/** What must hold of an input that was accepted. */
export const must = (holds: boolean, what: string): void => {
  if (!holds) throw new Unsound(what)
}
