import { spawn } from 'node:child_process'
import nacl from 'tweetnacl'
import { hexToBytes } from '../../contract/bytes.ts'
import { CommandFailure } from '../failure.ts'
import type { Signer } from './signer.ts'

/** chosen: a token may wait for a touch or a PIN; a person gives up before */
const TIMEOUT_MS = 60_000
/** spec: 128 hex digits; chosen room for a line end and a warning */
const OUTPUT_BYTES_MAX = 4_096

/** Signs through a command that holds or reaches the secret, an HSM's tool for example.
 *
 *  `COMMAND public` prints the Ed25519 public key, `COMMAND sign` reads the bytes on standard input and prints the signature; both as
 *  hex on one line. The command is split at spaces and run without a shell. What it returns is verified before it is used.
 *  @param publicKey hex; the signature must be this key's
 */
export const execSigner = (command: string, publicKey: string, timeoutMs = TIMEOUT_MS): Signer => ({
  publicKey,
  async sign(bytes) {
    const sig = hexOf(command, 'sign', await run(command, 'sign', bytes, timeoutMs), 64)
    if (nacl.sign.detached.verify(bytes, hexToBytes(sig), hexToBytes(publicKey))) return sig
    throw new CommandFailure(`${command}: the signature is not by key ${publicKey.slice(0, 16)}…`, {
      hint: 'does the command sign the bytes as they are (Ed25519, not pre-hashed), and with this key?',
    })
  },
})

/** Asks a signing command for its public key, hex. */
export const execPublicKey = async (command: string, timeoutMs = TIMEOUT_MS): Promise<string> =>
  hexOf(command, 'public', await run(command, 'public', new Uint8Array(0), timeoutMs), 32)

function hexOf(command: string, task: string, output: string, bytes: number): string {
  const text = output.trim().toLowerCase()
  if (text.length === 2 * bytes && /^[0-9a-f]+$/.test(text)) return text
  throw new CommandFailure(`${command} ${task}: expected ${2 * bytes} hex digits on standard output`, {
    hint: `it printed ${JSON.stringify(output.slice(0, 60))}`,
  })
}

function run(command: string, task: string, input: Uint8Array, timeoutMs: number): Promise<string> {
  const [file, ...args] = command.split(' ').filter((part) => part !== '')
  if (file === undefined) throw new CommandFailure('exec: names no command', { exitCode: 2 })
  // The passphrase of the other keys is none of its business.
  const { KINGLET_PASSPHRASE: _, ...env } = process.env
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...args, task], { stdio: ['pipe', 'pipe', 'pipe'], env })
    let output = ''
    let complaint = ''
    let why: string | undefined
    const kill = (reason: string): void => {
      why ??= reason
      child.kill('SIGKILL')
      // A grandchild may hold the pipes; what it says is of no interest any more.
      child.stdout.destroy()
      child.stderr.destroy()
    }
    // The socket's and the person's time, not a simulation's.
    const timer = setTimeout(() => kill(`no answer within ${timeoutMs / 1000} s`), timeoutMs)
    const fail = (reason: string, cause?: unknown): void =>
      reject(
        new CommandFailure(`${command} ${task}: ${reason}`, {
          cause,
          ...(complaint.trim() !== '' && {
            hint: `it said: ${complaint.trim().split('\n', 1).join('').slice(0, 200)}`,
          }),
        }),
      )
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (output.length > OUTPUT_BYTES_MAX) kill(`more than ${OUTPUT_BYTES_MAX} bytes of output`)
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(0, OUTPUT_BYTES_MAX)
    })
    // It need not read its input to the end.
    child.stdin.on('error', () => undefined)
    child.once('error', (cause) => {
      clearTimeout(timer)
      const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
      fail(missing ? 'there is no such command' : cause.message, cause)
    })
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      if (why !== undefined) fail(why)
      else if (code !== 0) fail(`it ended with ${code ?? signal}`)
      else resolve(output)
    })
    child.stdin.end(input)
  })
}
