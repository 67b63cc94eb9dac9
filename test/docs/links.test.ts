import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { anchorsOf, documents, files, folders, partsOf, textOf } from './documents.ts'

/** @returns why a link of a document leads nowhere, or undefined */
function brokenLink(from: string, link: string): string | undefined {
  if (/^[a-z]+:/.test(link)) return undefined
  const [path = '', anchor] = link.split('#')
  const target = path === '' ? from : normalize(join(dirname(from), path)).replace(/\/$/, '')
  if (!files.has(target) && !folders.has(target)) return `${from}: no ${target}`
  if (anchor !== undefined && !anchorsOf(textOf(target)).has(anchor))
    return `${from}: no heading #${anchor} in ${target}`
  return undefined
}

/** Names of source files in a text, as documents and comments say them: a path from the root, or the end of one. */
const NAMED = /(?<![\w/.@-])(?:[\w.-]+\/)*[\w-][\w.-]*\.(?:ts|mjs|cjs|py|sh)\b(?!\/)/g
/** Folders of ours, in backticks. */
const FOLDER =
  /`((?:contract|model|platform|device|release|gateway|cloud|firmware-sim|cli|zoo|bench|docs|test)(?:\/[\w-]+)+)\/?`/g

const endings = new Set([...files].flatMap((file) => file.split('/').map((_, i, parts) => parts.slice(i).join('/'))))
function absentIn(where: string, text: string): string[] {
  const named = [...text.matchAll(NAMED)].filter(([name]) => !endings.has(name.replace(/^(\.\.?\/)+/, '')))
  const inFolders = [...text.matchAll(FOLDER)].filter(
    ([, name]) => !folders.has(name!) && !files.has(name!) && !files.has(`${name}.ts`),
  )
  return [...named.map(([name]) => `${where}: ${name}`), ...inFolders.map(([, name]) => `${where}: ${name}`)]
}

/** The comments of a source file. A string that looks like a comment's beginning is no matter: it is then read as well. */
const commentsOf = (source: string): string =>
  [...source.matchAll(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm)].map(([comment]) => comment).join('\n')

const withoutComments = (source: string): string => source.replace(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, '')

/** Files of other projects, and this one's counterexamples. */
const ELSEWHERE = new Set(['model/features/mfcc-definition.ts: get_dataset.py'])
/** Constants of standards and of other projects, and variables of the environment. */
const OF_OTHERS =
  /^(EX_SOFTWARE|WAVE_FORMAT_EXTENSIBLE|INT64_MAX|(UNI|BI)DIRECTIONAL_SEQUENCE_(RNN|LSTM)|CONV_3D_TRANSPOSE|KINGLET_\w+)$/
const SELF = 'test/docs/links.test.ts'

describe('what documents and comments point at', () => {
  it('every relative link of a document leads to a file, and every anchor to a heading', () => {
    const links = documents.flatMap((document) =>
      [...partsOf(textOf(document)).prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => [document, link!] as const),
    )
    expect(links.length).toBeGreaterThan(30)
    expect(links.flatMap(([document, link]) => brokenLink(document, link) ?? [])).toEqual([])
  })

  it('every source file and folder that a document names exists', () => {
    const absent = documents
      .filter((document) => document !== 'CHANGELOG.md')
      .flatMap((document) => absentIn(document, textOf(document)))
    expect(absent.filter((line) => !ELSEWHERE.has(line))).toEqual([])
  })

  it('every source file and folder that a comment names exists', () => {
    const sources = [...files].filter((file) => /\.(ts|cjs|mjs|js|py)$/.test(file) && file !== SELF)
    expect(sources.length).toBeGreaterThan(300)
    const absent = sources.flatMap((source) => absentIn(source, commentsOf(textOf(source))))
    expect(absent.filter((line) => !ELSEWHERE.has(line))).toEqual([])
  })

  it('every constant that a comment names exists', () => {
    const sources = [...files].filter((file) => /\.(ts|py)$/.test(file) && file !== SELF)
    const constants = (text: string) => text.match(/(?<![\w/.-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g) ?? []
    const written = new Set(sources.flatMap((source) => constants(withoutComments(textOf(source)))))
    const absent = sources.flatMap((source) =>
      constants(commentsOf(textOf(source))).flatMap((name) =>
        written.has(name) || OF_OTHERS.test(name) ? [] : [`${source}: ${name}`],
      ),
    )
    expect(absent).toEqual([])
  })

  it('notices a link, an anchor and a name that lead nowhere', () => {
    expect(brokenLink('docs/patch.md', 'nowhere.md')).toBe('docs/patch.md: no docs/nowhere.md')
    expect(brokenLink('README.md', 'zoo/README.md#nothing')).toBe('README.md: no heading #nothing in zoo/README.md')
    expect(brokenLink('README.md', 'zoo/README.md#small-updates')).toBeUndefined()
    expect(absentIn('x', 'see `contract/limits.ts`, limits.ts and `test/contract/`')).toEqual([])
    expect(absentIn('x', commentsOf('const a = 1 // as in contract/limit.ts, `cloud/shop`'))).toEqual([
      'x: contract/limit.ts',
      'x: cloud/shop',
    ])
  })
})
