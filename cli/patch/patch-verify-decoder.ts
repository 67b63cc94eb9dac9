import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CommandFailure } from '../failure.ts'
import { ProgressLine } from '../progress-line.ts'
import { type PatchVector, readPatchVectors } from './patch-vectors.ts'

export interface VerifyDecoderFlags {
  readonly exec: string
  readonly json?: boolean
}

/** Chosen: vectors are of kilobytes. */
const TIMEOUT_MS = 20_000
const OUTPUT_BYTES_MAX = 16 * 1024 ** 2
const SHOWN_MAX = 20

/** `kinglet patch verify-decoder`: runs another decoder over test vectors. For each the command gets the path of the base as its last argument
 *  (an empty file for none) and the patch on its standard input; it is to write the result on its standard output and to end with 0, or to
 *  end with another code for a patch that is none. Split at spaces and run without a shell.
 *  @throws CommandFailure when a vector fails, or the command cannot be run */
export async function verifyDecoder(vectorsPath: string, { exec, json }: VerifyDecoderFlags): Promise<void> {
  const [file, ...args] = exec.split(' ').filter((part) => part !== '')
  if (file === undefined) throw new CommandFailure('--exec names no command', { exitCode: 2 })
  const vectors = readPatchVectors(vectorsPath)
  const folder = mkdtempSync(join(tmpdir(), 'kinglet-verify-decoder-'))
  const progress = new ProgressLine(exec)
  const failed: { readonly name: string; readonly reason: string }[] = []
  try {
    const basePath = join(folder, 'base')
    for (const [i, vector] of vectors.entries()) {
      progress.show(i / vectors.length)
      writeFileSync(basePath, vector.base ?? new Uint8Array(0))
      const reason = faultOf(vector, await run(file, [...args, basePath], vector.patch))
      if (reason !== undefined) failed.push({ name: vector.name, reason })
    }
  } finally {
    progress.clear()
    rmSync(folder, { recursive: true, force: true })
  }
  if (json) console.log(JSON.stringify({ vectors: vectors.length, failed }))
  else {
    for (const { name, reason } of failed.slice(0, SHOWN_MAX)) console.log(`${name}: ${reason}`)
    if (failed.length > SHOWN_MAX) console.log(`and ${failed.length - SHOWN_MAX} more; --json lists all`)
    if (failed.length === 0) console.log(`${exec}: right on all ${vectors.length} vectors`)
  }
  if (failed.length > 0) {
    throw new CommandFailure(`${exec}: wrong on ${failed.length} of ${vectors.length} vectors`, {
      hint: 'the format is described in docs/patch.md; begin with the first that fails',
    })
  }
}

interface Ran {
  readonly code: number | null
  readonly sha256: string
  readonly bytes: number
  /** why it was ended from here */
  readonly ended: string | undefined
  readonly complaint: string
}

function faultOf(vector: PatchVector, { code, sha256, bytes, ended, complaint }: Ran): string | undefined {
  if (ended !== undefined) return ended
  if (vector.sha256 === null) {
    if (code === null) return 'it was killed by a signal on a malformed patch, which it is to refuse'
    return code === 0 ? 'it takes a malformed patch, which it is to refuse' : undefined
  }
  if (code !== 0) return `it ended with ${code ?? 'a signal'}${complaint === '' ? '' : `: ${complaint}`}`
  return sha256 === vector.sha256 ? undefined : `it made ${bytes} bytes with another hash`
}

function run(file: string, args: readonly string[], patch: Uint8Array): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    const hash = createHash('sha256')
    let bytes = 0
    let complaint = ''
    let ended: string | undefined
    const end = (reason: string): void => {
      ended ??= reason
      child.kill('SIGKILL')
      child.stdout.destroy()
      child.stderr.destroy()
    }
    // A process's time, not a simulation's.
    const timer = setTimeout(() => end(`no end within ${TIMEOUT_MS / 1000} s`), TIMEOUT_MS)
    child.stdout.on('data', (data: Buffer) => {
      bytes += data.length
      hash.update(data)
      if (bytes > OUTPUT_BYTES_MAX) end(`more than ${OUTPUT_BYTES_MAX} bytes of output`)
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(0, 200)
    })
    // It need not read a patch to the end that it refuses.
    child.stdin.on('error', () => undefined)
    child.once('error', (cause) => {
      clearTimeout(timer)
      const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
      const hint = 'give the path of a program; it is run without a shell, split at spaces'
      reject(new CommandFailure(`${file}: ${missing ? 'there is no such command' : cause.message}`, { hint, cause }))
    })
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve({ code, sha256: hash.digest('hex'), bytes, ended, complaint: complaint.trim().split('\n', 1).join('') })
    })
    child.stdin.end(patch)
  })
}
