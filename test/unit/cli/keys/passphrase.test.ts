import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterAll, describe, expect, it } from 'vitest'
import { passphraseFrom } from '../../../../cli/keys/passphrase.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-pass-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** A terminal: what is typed, what is shown, and whether it echoes. */
function terminal(isTTY: boolean) {
  const stdin = Object.assign(new PassThrough(), {
    isTTY,
    raw: false,
    setRawMode(raw: boolean) {
      stdin.raw = raw
      return stdin
    },
  })
  const shown: string[] = []
  const stderr = { write: (text: string) => shown.push(text) > 0 }
  return { stdin, shown, process: { stdin, stderr } as unknown as Pick<NodeJS.Process, 'stdin' | 'stderr'> }
}
const type = async (stdin: PassThrough, text: string): Promise<void> => {
  await new Promise((resolve) => setImmediate(resolve))
  stdin.write(text)
}

describe('the passphrase', () => {
  const file = join(dir, 'passphrase')
  writeFileSync(file, 'from the file\nsecond line\n')

  it('is the first line of the file, then the environment', async () => {
    const env = { KINGLET_PASSPHRASE: 'from the environment' }
    expect(await passphraseFrom(file, env, terminal(true).process).read(false)).toBe('from the file')
    expect(await passphraseFrom(undefined, env, terminal(true).process).read(true)).toBe('from the environment')
  })

  it('is asked for on a terminal, once, without echo', async () => {
    const { stdin, shown, process } = terminal(true)
    const passphrase = passphraseFrom(undefined, {}, process)
    const answer = passphrase.read(false)
    expect(stdin.raw).toBe(true)
    await type(stdin, 'corrextX\u007f\u007f')
    await type(stdin, 't horse\r')
    expect(await answer).toBe('corrext horse')
    expect(stdin.raw).toBe(false)
    expect(await passphrase.read(false)).toBe('corrext horse')
    expect(shown.join('')).toBe('Passphrase of the keys: \n')
  })

  it('of a new key is asked for twice, and must be the same and not short', async () => {
    const { stdin, process } = terminal(true)
    const differing = passphraseFrom(undefined, {}, process).read(true)
    await type(stdin, 'correct horse\r')
    await type(stdin, 'correct house\r')
    await expect(differing).rejects.toThrow(/differ/)
    await expect(passphraseFrom(undefined, { KINGLET_PASSPHRASE: 'short' }, process).read(true)).rejects.toThrow(
      /at least 8/,
    )
    expect(await passphraseFrom(undefined, { KINGLET_PASSPHRASE: 'short' }, process).read(false)).toBe('short')
  })

  it('is given up with Ctrl-C, and the terminal echoes again', async () => {
    const { stdin, process } = terminal(true)
    const answer = passphraseFrom(undefined, {}, process).read(false)
    await type(stdin, 'abc\u0003')
    await expect(answer).rejects.toMatchObject({ exitCode: 130 })
    expect(stdin.raw).toBe(false)
  })

  it('without a terminal is a failure that says where it may come from', async () => {
    const { process } = terminal(false)
    await expect(passphraseFrom(undefined, {}, process).read(false)).rejects.toThrow(
      /--passphrase-file FILE, set KINGLET_PASSPHRASE/,
    )
    await expect(passphraseFrom(join(dir, 'none'), {}, process).read(false)).rejects.toThrow(
      /none: there is no such file/,
    )
  })
})
