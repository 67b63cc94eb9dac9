import { readFileSync } from 'node:fs'
import { CommandFailure, fileFailure } from '../failure.ts'
import { keepToOwner } from '../secret-file.ts'

/** chosen: short enough to type, long enough that scrypt makes guessing it dear */
const LENGTH_MIN = 8
/** chosen: one line of any passphrase file */
const LENGTH_MAX = 1_024

/** Where a command takes the passphrase of key files from. */
export interface Passphrase {
  /** @param twice a new key is made: asked for twice on a terminal, and a minimum holds */
  read(twice: boolean): Promise<string>
}

/** The first of: a file's first line, `KINGLET_PASSPHRASE`, a question on the terminal. Asked for once a command. */
export function passphraseFrom(
  file: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
  terminal: Pick<NodeJS.Process, 'stdin' | 'stderr'>,
): Passphrase {
  let known: string | undefined
  return {
    async read(twice) {
      known ??= file === undefined ? environment.KINGLET_PASSPHRASE : firstLine(file)
      if (known === undefined) {
        if (terminal.stdin.isTTY !== true) {
          throw new CommandFailure('the keys are encrypted and no passphrase was given', {
            hint: 'give --passphrase-file FILE, set KINGLET_PASSPHRASE, or run this on a terminal',
          })
        }
        const answer = await ask('Passphrase of the keys: ', terminal)
        if (twice && (await ask('Again: ', terminal)) !== answer) {
          throw new CommandFailure('the two passphrases differ', { hint: 'nothing was written; try again' })
        }
        known = answer
      }
      if (twice && known.length < LENGTH_MIN) {
        throw new CommandFailure(`a passphrase has at least ${LENGTH_MIN} characters`)
      }
      return known
    },
  }
}

function firstLine(file: string): string {
  try {
    const line = readFileSync(file, 'utf8').slice(0, LENGTH_MAX).split(/\r?\n/, 1)[0] ?? ''
    keepToOwner(file)
    return line
  } catch (cause) {
    if (cause instanceof CommandFailure) throw cause
    throw fileFailure(file, cause)
  }
}

/** Reads one line without echo. */
function ask(question: string, { stdin, stderr }: Pick<NodeJS.Process, 'stdin' | 'stderr'>): Promise<string> {
  stderr.write(question)
  stdin.setRawMode(true)
  stdin.setEncoding('utf8')
  stdin.resume()
  return new Promise((resolve, reject) => {
    let line = ''
    const end = (settle: () => void): void => {
      stdin.off('data', take)
      stdin.setRawMode(false)
      stdin.pause()
      stderr.write('\n')
      settle()
    }
    const take = (text: string): void => {
      for (const character of text) {
        // Ctrl-C and Ctrl-D arrive as characters in raw mode.
        const gaveUp = character === '\u0003' || character === '\u0004'
        if (gaveUp) end(() => reject(new CommandFailure('no passphrase was given', { exitCode: 130 })))
        else if (character === '\r' || character === '\n') end(() => resolve(line))
        if (gaveUp || character === '\r' || character === '\n') return
        if (character === '\u007f' || character === '\b') line = [...line].slice(0, -1).join('')
        else if (line.length < LENGTH_MAX) line += character
      }
    }
    stdin.on('data', take)
  })
}
