import { Command, CommanderError } from 'commander'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { documents, files, partsOf, textOf } from './documents.ts'

/** The whole command as its entry file puts it together, caught when it is about to read the command line; its actions are replaced. */
async function wholeCommand(): Promise<Command> {
  const argv = process.argv
  let caught: Command | undefined
  const parse = vi.spyOn(Command.prototype, 'parseAsync').mockImplementation(async function (this: Command) {
    caught = this
    return this
  })
  process.argv = ['node', 'kinglet', '--help']
  try {
    await import('../../cli/kinglet.ts')
  } finally {
    process.argv = argv
    parse.mockRestore()
  }
  if (caught === undefined) throw new Error('cli/kinglet.ts has parsed nothing')
  disarm(caught)
  return caught
}
function disarm(command: Command): void {
  command.exitOverride().configureOutput({ writeErr: () => undefined, writeOut: () => undefined })
  if (command.commands.length === 0) command.action(() => undefined)
  // What a document names need not be there.
  const hooks = command as unknown as { _lifeCycleHooks: object }
  hooks._lifeCycleHooks = {}
  for (const below of command.commands) disarm(below)
}

/** Shell words of a line, as far as documents use the shell: quotes, and nothing else. */
const wordsOf = (line: string): string[] =>
  [...line.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) => word.replace(/["']/g, ''))

interface Line {
  readonly where: string
  readonly words: readonly string[]
}

/** Command lines in the code of a document: comments and what is piped in are cut off, continued lines joined, variables put in. */
function linesOf(document: string): Line[] {
  const { code } = partsOf(textOf(document))
  const lines: Line[] = []
  const variables = new Map<string, string>()
  let open = ''
  for (const { line, text } of code) {
    const joined = open + text
    open = joined.endsWith('\\') ? joined.slice(0, -1) : ''
    if (open !== '') continue
    const variable = /^([A-Z]+)="([^"]*)"$/.exec(joined.trim())
    if (variable !== null) variables.set(variable[1]!, variable[2]!)
    const command = /(?:npx kinglet|^kinglet|npm start --|node dist\/cli\/kinglet\.js)(?= |$)([^|#]*)/.exec(joined)
    if (command === null) continue
    const said = command[1]!.replace(/\$([A-Z]+)/g, (_, name: string) => variables.get(name) ?? '')
    lines.push({
      where: `${document}:${line}`,
      words: wordsOf(`${joined.includes('npm start --') ? 'story ' : ''}${said}`),
    })
  }
  return lines
}

/** Commands in backticks: often only a part of one, so nothing is asked but that it exists and knows its options. */
function mentionsOf(where: string, text: string): Line[] {
  const mentions: Line[] = []
  for (const [, said] of text.matchAll(
    /`(?:(?:npx )?kinglet |(?=(?:model|patch|device|gateway|cloud|token|keys|release|rollout|sim) [a-z-]))([a-z][^`$]*)`/g,
  ))
    mentions.push({ where, words: wordsOf(said!) })
  for (const [, said] of text.matchAll(/`npm start -- ([^`]*)`/g))
    mentions.push({ where, words: ['story', ...wordsOf(said!)] })
  return mentions
}

/** @returns what is not known of a mention, or undefined */
function unknownIn(program: Command, words: readonly string[]): string | undefined {
  let command = program
  let rest = [...words]
  for (;;) {
    const below = command.commands.find((one) => one.name() === rest[0])
    if (below === undefined) break
    command = below
    rest = rest.slice(1)
  }
  if (command === program || (command.commands.length > 0 && /^[a-z-]+$/.test(rest[0] ?? '')))
    return `no command ${words.join(' ')}`
  const known = new Set(command.options.flatMap(({ long, short }) => [long, short]))
  return rest.filter((word) => /^--?[a-z]/.test(word) && !known.has(word) && word !== '--help')[0]
}

/** @returns why commander would not run a line, or undefined */
async function refusal(program: Command, words: readonly string[]): Promise<string | undefined> {
  try {
    await program.parseAsync([...words], { from: 'user' })
    return undefined
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? undefined : error.message
    throw error
  }
}

describe('commands in documents', () => {
  let program: Command
  beforeAll(async () => {
    program = await wholeCommand()
  })

  it('every command line in a block of code is one that the command takes', async () => {
    const lines = documents.flatMap(linesOf)
    expect(lines.length).toBeGreaterThan(25)
    const refused: string[] = []
    for (const { where, words } of lines) {
      const why = await refusal(program, words)
      if (why !== undefined) refused.push(`${where}: ${words.join(' ')}: ${why}`)
    }
    expect(refused).toEqual([])
  })

  it('every command and option named in prose and in comments exists', () => {
    const sources = [...files].filter((file) => /\.ts$/.test(file) && !file.startsWith('test/docs/'))
    const mentions = [...documents, ...sources].flatMap((file) => mentionsOf(file, textOf(file)))
    expect(mentions.length).toBeGreaterThan(30)
    const unknown = mentions.flatMap(({ where, words }) => {
      const what = unknownIn(program, words)
      return what === undefined ? [] : [`${where}: ${words.join(' ')}: ${what}`]
    })
    expect(unknown).toEqual([])
  })

  it('every script that a document runs with npm exists', () => {
    const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> }
    const said = [...documents, '.ci/run'].flatMap((document) =>
      [...textOf(document).matchAll(/npm run (?:--silent )?([\w:]+)/g)].map(([, name]) => `${document}: ${name}`),
    )
    expect(said.length).toBeGreaterThan(5)
    expect(said.filter((line) => !Object.hasOwn(scripts, line.split(': ')[1]!))).toEqual([])
  })

  it('notices a command, an option and an argument that are not', async () => {
    expect(await refusal(program, ['model', 'inspect', 'a.kinglet'])).toBeUndefined()
    expect(await refusal(program, ['model', 'inspekt', 'a.kinglet'])).toMatch(/unknown command/)
    expect(await refusal(program, ['model', 'inspect', 'a.kinglet', '--loud'])).toMatch(/unknown option/)
    expect(await refusal(program, ['release', 'promote', 'a'])).toMatch(/required option/)
    expect(unknownIn(program, ['model', 'eval', '--streaming'])).toBe('--streaming')
    expect(unknownIn(program, ['model', 'train'])).toBe('no command model train')
  })
})
