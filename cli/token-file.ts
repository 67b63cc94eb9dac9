import { readFileSync } from 'node:fs'
import { CommandFailure, fileFailure } from './failure.ts'
import { keepToOwner } from './secret-file.ts'

/** Reads a token that the cloud has minted: one line, a JWT. */
export function readToken(path: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (cause) {
    throw fileFailure(path, cause)
  }
  keepToOwner(path)
  // What is no token is refused here, where its file has a name; the cloud would only say that it is not authorized.
  if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text)) return text
  throw new CommandFailure(`${path} holds no token`, {
    hint: 'the operator token is operator.token in the data folder of "kinglet cloud run"; others come from "kinglet token make" and POST /v1/devices',
  })
}
