import { spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Peer {
  readonly name: PeerName
  /** command that brings it */
  readonly install: string
  /** another of the same, where this is missing */
  readonly standIn?: PeerName
  /** npm package that has to be installed for it */
  readonly npmPackage?: string
  /** whether it reads the old file */
  readonly isPatch: boolean
  /** Run where `old` and `new` lie; leaves its result in `out`, or writes it to its standard output. */
  readonly command: readonly [string, ...string[]]
  readonly writesToStdout?: boolean
}

export type PeerName = 'bsdiff' | 'bsdiff-node' | 'xdelta3' | 'zstd-patch' | 'xz' | 'zstd'

/** Where a package's main file lies; '' when it is not installed. */
function installed(name: string): string {
  try {
    return createRequire(import.meta.url).resolve(name)
  } catch {
    return ''
  }
}

/** Each at its strongest, as its manual page says. */
export const PEERS: readonly Peer[] = [
  {
    name: 'bsdiff',
    install: 'apt install bsdiff',
    standIn: 'bsdiff-node',
    isPatch: true,
    command: ['bsdiff', 'old', 'new', 'out'],
  },
  {
    name: 'bsdiff-node',
    install: 'npm install bsdiff-node',
    standIn: 'bsdiff',
    npmPackage: 'bsdiff-node',
    isPatch: true,
    command: [
      process.execPath,
      '-e',
      `require(${JSON.stringify(installed('bsdiff-node'))}).diffSync('old', 'new', 'out')`,
    ],
  },
  // -A: without the names of the files, which would count against it.
  {
    name: 'xdelta3',
    install: 'apt install xdelta3',
    isPatch: true,
    command: ['xdelta3', '-9', '-e', '-f', '-A', '-s', 'old', 'new', 'out'],
  },
  {
    name: 'zstd-patch',
    install: 'apt install zstd',
    isPatch: true,
    command: ['zstd', '-q', '-f', '--ultra', '-22', '--long=27', '--patch-from=old', 'new', '-o', 'out'],
  },
  {
    name: 'xz',
    install: 'apt install xz-utils',
    isPatch: false,
    command: ['xz', '-9e', '-c', 'new'],
    writesToStdout: true,
  },
  {
    name: 'zstd',
    install: 'apt install zstd',
    isPatch: false,
    command: ['zstd', '-q', '-f', '--ultra', '-22', 'new', '-o', 'out'],
  },
]

/** Bytes that each peer makes of a pair; a peer that is missing on this machine is missing here. */
export type PeerBytes = Partial<Record<PeerName, number>>

/** Runs every peer on a pair, one after the other. A peer that is there and fails throws. */
export async function peerBytes(oldFile: Uint8Array, newFile: Uint8Array): Promise<PeerBytes> {
  const cwd = mkdtempSync(join(tmpdir(), 'kinglet-bench-patch-'))
  const bytes: PeerBytes = {}
  try {
    writeFileSync(join(cwd, 'old'), oldFile)
    writeFileSync(join(cwd, 'new'), newFile)
    for (const peer of PEERS) {
      if (peer.npmPackage !== undefined && installed(peer.npmPackage) === '') continue
      rmSync(join(cwd, 'out'), { force: true })
      if (await run(peer, cwd)) bytes[peer.name] = statSync(join(cwd, 'out')).size
    }
    return bytes
  } finally {
    rmSync(cwd, { recursive: true, force: true })
  }
}

/** @returns false when there is no such program */
async function run({ command: [file, ...args], writesToStdout }: Peer, cwd: string): Promise<boolean> {
  const out = writesToStdout ? openSync(join(cwd, 'out'), 'w') : 'ignore'
  try {
    return await new Promise<boolean>((resolve, reject) => {
      const child = spawn(file, args, { cwd, stdio: ['ignore', out, 'pipe'] })
      let said = ''
      child.stderr!.setEncoding('utf8').on('data', (text: string) => {
        said += text
      })
      child.once('error', (error: NodeJS.ErrnoException) => (error.code === 'ENOENT' ? resolve(false) : reject(error)))
      child.once('close', (code) => {
        if (code === 0) resolve(true)
        else reject(new Error(`${[file, ...args].join(' ')}: exit code ${code}\n${said}`))
      })
    })
  } finally {
    if (typeof out === 'number') closeSync(out)
  }
}

/** @returns the smallest of some peers, null when none of them is there */
export function best(
  bytes: PeerBytes,
  among: (peer: Peer) => boolean,
): { readonly name: PeerName; readonly bytes: number } | null {
  let least: { readonly name: PeerName; readonly bytes: number } | null = null
  for (const peer of PEERS) {
    const made = bytes[peer.name]
    if (made !== undefined && among(peer) && (least === null || made < least.bytes)) {
      least = { name: peer.name, bytes: made }
    }
  }
  return least
}
