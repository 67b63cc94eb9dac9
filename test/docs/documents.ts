import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export const ROOT = join(import.meta.dirname, '../..')

/** Files that are committed or about to be, by their path from the root. */
export const files: ReadonlySet<string> = new Set(
  execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], { cwd: ROOT, encoding: 'utf8' })
    .split('\0')
    .filter((name) => name !== ''),
)
export const folders: ReadonlySet<string> = new Set(
  [...files].flatMap((file) => {
    const parts = file.split('/').slice(0, -1)
    return parts.map((_, i) => parts.slice(0, i + 1).join('/'))
  }),
)
export const documents: readonly string[] = [...files].filter((file) => file.endsWith('.md')).sort()
export const textOf = (file: string): string => readFileSync(join(ROOT, file), 'utf8')

/** A document in parts: what is fenced or indented as code, and prose. */
export interface Parts {
  readonly prose: string
  readonly code: readonly { readonly line: number; readonly text: string }[]
}
export function partsOf(document: string): Parts {
  const prose: string[] = []
  const code: { line: number; text: string }[] = []
  let fenced = false
  for (const [i, text] of document.split('\n').entries()) {
    if (/^```/.test(text)) fenced = !fenced
    else if (fenced || /^ {4}/.test(text)) code.push({ line: i + 1, text })
    else {
      prose.push(text)
      continue
    }
    prose.push('')
  }
  return { prose: prose.join('\n'), code }
}

/** What GitHub makes of a heading. */
const slugOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replace(/ /g, '-')

export const anchorsOf = (document: string): ReadonlySet<string> =>
  new Set([...partsOf(document).prose.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => slugOf(heading!)))
