import { readFileSync } from 'node:fs'
import type * as z from 'zod'
import { CommandFailure, fileFailure } from './failure.ts'

/** Reads a JSON file that a person wrote or keeps. */
export function readJsonFile(path: string): unknown {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (cause) {
    throw fileFailure(path, cause)
  }
  return parseJson(path, bytes)
}

/** @param path for people */
export function parseJson(path: string, bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw new CommandFailure(`${path}: not JSON: ${cause instanceof Error ? cause.message : String(cause)}`)
  }
}

/** The first thing a schema found, in one line: where, and what is wrong there. */
export function firstIssue(error: z.core.$ZodError): string {
  const [issue, ...more] = error.issues
  if (issue === undefined) return 'invalid'
  const where = issue.path.length === 0 ? '' : `${issue.path.join('.')}: `
  return `${where}${issue.message}${more.length === 0 ? '' : ` (and ${more.length} more)`}`
}
