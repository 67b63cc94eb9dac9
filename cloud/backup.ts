import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import Database from 'better-sqlite3'
import * as z from 'zod/mini'
import { sha256Field, uintField } from '../contract/fields.ts'
import { makeFolderDurably, renameDurably, writeFileDurably } from '../platform/durable-file.ts'
import { hashFile } from '../platform/hash-file.ts'
import { Store } from './store/store.ts'

/** Copies of a cloud's folder: made while it runs, complete or none, and checked before a cloud goes on from one. */

/** What was backed up, and the mark that all of it was: it is written last. */
const backupSchema = z.strictObject({
  v: z.literal(1),
  /** Unix ms */
  madeMs: uintField,
  database: z.strictObject({ bytes: uintField, sha256: sha256Field }),
  artifacts: z.strictObject({ count: uintField, bytes: uintField }),
})
export type Backup = z.infer<typeof backupSchema>

/** The folder is no backup, or not whole any more; or there is no room for one. */
export class BackupError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'BackupError'
  }
}

const DATABASE = 'cloud.db'
const MARK = 'backup.json'
const KEYS = 'keys'
const TOKEN = 'operator.token'
const ARTIFACTS = 'artifacts'
const MARK_BYTES_MAX = 4_096
/** chosen: keys are replaced once in months, and copying them takes milliseconds */
const KEY_TRIES = 3
/** Chosen: a cloud makes less than one snapshot and one timestamp a minute, so that even one that goes on from the same backup twice is ahead of
 *  every version that devices have seen. */
const VERSIONS_AHEAD = 1_000
const MINUTE_MS = 60_000

/** Copies the database as it is at one moment, then what it names, so that nothing it names is missing.
 *  @param dataDir folder of a cloud, which may run
 *  @param into made; must not be there, or be empty
 *  @param tell one line for each part that takes long
 *  @throws BackupError; what the file system throws */
export function backUpCloud(dataDir: string, into: string, nowMs: number, tell: (line: string) => void): Backup {
  const from = join(dataDir, DATABASE)
  if (!existsSync(from)) throw new BackupError(`${from} does not exist: that is no folder of a cloud`)
  claimEmpty(into)
  const artifacts = artifactsIn(dataDir)
  const artifactBytes = artifacts.reduce((sum, { bytes }) => sum + bytes, 0)
  const wanted = statSync(from).size + artifactBytes
  const disk = statfsSync(into)
  const free = disk.bavail * disk.bsize
  if (free < wanted) throw new BackupError(`${into}: the copy takes ${wanted} bytes, and ${free} are free`)
  tell(`the database, ${wanted - artifactBytes} bytes`)
  const database = copyWithKeys(dataDir, into)
  // After the database: what it names was there before its row.
  const named = artifactsIn(dataDir)
  tell(`${named.length} artifacts, ${named.reduce((sum, { bytes }) => sum + bytes, 0)} bytes`)
  for (const { path } of named) copyDurably(dataDir, into, path)
  const bytes = named.reduce((sum, each) => sum + each.bytes, 0)
  const backup: Backup = { v: 1, madeMs: nowMs, database, artifacts: { count: named.length, bytes } }
  writeFileDurably(join(into, MARK), `${JSON.stringify(backup, null, 2)}\n`, { mode: 0o600 })
  return backup
}

/** Makes the folder of a cloud from a backup, all of it or nothing. Snapshot and timestamp that it makes next have higher versions than any that
 *  devices may have seen since, which would refuse them otherwise.
 *  @param dataDir must not be there, or be empty
 *  @throws BackupError; DatabaseTooNewError; what the file system throws */
export function restoreCloud(from: string, dataDir: string, nowMs: number, tell: (line: string) => void): Backup {
  const backup = readMark(from)
  const target = dataDir.replace(/\/+$/, '')
  if (!isEmpty(target)) throw new BackupError(`${target} has something in it: a cloud is restored into an empty folder`)
  tell(`checking the database, ${backup.database.bytes} bytes`)
  const copy = join(from, DATABASE)
  const found = existsSync(copy) ? statSync(copy).size : -1
  if (found !== backup.database.bytes || hashFile(copy) !== backup.database.sha256) {
    throw new BackupError(`${copy} is not what was backed up: take another backup`)
  }
  const artifacts = artifactsIn(from)
  tell(`checking ${artifacts.length} artifacts`)
  for (const { path, sha256 } of artifacts) {
    if (hashFile(join(from, path)) !== sha256) {
      throw new BackupError(`${join(from, path)} is damaged: its name is not the hash of what is in it`)
    }
  }
  // What a restoration that was interrupted has left.
  const aside = `${target}.restoring`
  rmSync(aside, { recursive: true, force: true })
  makeFolderDurably(aside, 0o700)
  try {
    for (const path of [DATABASE, ...filesIn(from, KEYS), ...(existsSync(join(from, TOKEN)) ? [TOKEN] : [])]) {
      copyDurably(from, aside, path)
    }
    for (const { path } of artifacts) copyDurably(from, aside, path)
    goOnFrom(join(aside, DATABASE), backup, new Map(artifacts.map(({ sha256, bytes }) => [sha256, bytes])), nowMs)
    renameDurably(aside, target)
  } catch (cause) {
    rmSync(aside, { recursive: true, force: true })
    throw cause
  }
  return backup
}

/** Makes a copy of the database one to go on from. */
function goOnFrom(path: string, { madeMs }: Backup, artifacts: ReadonlyMap<string, number>, nowMs: number): void {
  const store = new Store(path, nowMs)
  try {
    const missing = store.models.artifacts().find(({ sha256, bytes }) => artifacts.get(sha256) !== bytes)
    if (missing !== undefined) throw new BackupError(`the backup lacks artifact ${missing.sha256}`)
    const ahead = VERSIONS_AHEAD + Math.max(0, Math.ceil((nowMs - madeMs) / MINUTE_MS))
    store.atomically(() => {
      store.metadata.skip('snapshot', ahead)
      store.metadata.skip('timestamp', ahead)
      const detail = { backupMs: madeMs, versionsAhead: ahead }
      store.audit.append({ atMs: nowMs, actor: 'kinglet', action: 'cloud.restored', subject: 'cloud', detail })
    })
  } finally {
    store.close()
  }
}

function readMark(from: string): Backup {
  const path = join(from, MARK)
  if (!existsSync(path)) {
    throw new BackupError(`${path} does not exist: that is no backup, or one that was interrupted`)
  }
  if (statSync(path).size > MARK_BYTES_MAX) throw new BackupError(`${path} is no list of a backup`)
  try {
    return backupSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (cause) {
    throw new BackupError(`${path} is no list of a backup`, { cause })
  }
}

/** The keys as they are at the moment of the database: what a root has taken into use lies in both. */
function copyWithKeys(dataDir: string, into: string): Backup['database'] {
  for (let tries = 0; tries < KEY_TRIES; tries++) {
    rmSync(join(into, DATABASE), { force: true })
    rmSync(join(into, KEYS), { recursive: true, force: true })
    const before = fingerprint(dataDir)
    for (const path of filesIn(dataDir, KEYS)) copyDurably(dataDir, into, path)
    if (existsSync(join(dataDir, TOKEN))) copyDurably(dataDir, into, TOKEN)
    const database = copyDatabase(join(dataDir, DATABASE), join(into, DATABASE))
    if (fingerprint(dataDir) === before) return database
  }
  throw new BackupError(`${join(dataDir, KEYS)} changes while it is copied: try again`)
}

const fingerprint = (dataDir: string): string =>
  JSON.stringify(filesIn(dataDir, KEYS).map((path) => [path, hashFile(join(dataDir, path))]))

/** In one read, which a cloud that writes meanwhile does not disturb, and without the space of dropped rows. */
function copyDatabase(from: string, to: string): Backup['database'] {
  const db = new Database(from, { readonly: true, fileMustExist: true })
  try {
    db.prepare('VACUUM INTO ?').run(`${to}.new`)
  } finally {
    db.close()
  }
  sync(`${to}.new`)
  renameDurably(`${to}.new`, to)
  return { bytes: statSync(to).size, sha256: hashFile(to) }
}

interface ArtifactFile {
  readonly path: string
  readonly sha256: string
  readonly bytes: number
}

/** By their place in a cloud's folder; what is being uploaded is none yet. */
const artifactsIn = (dir: string): readonly ArtifactFile[] =>
  foldersIn(join(dir, ARTIFACTS))
    .filter((name) => /^[0-9a-f]{2}$/.test(name))
    .flatMap((name) => filesIn(dir, join(ARTIFACTS, name)))
    .map((path) => ({ path, sha256: path.slice(-64), bytes: statSync(join(dir, path)).size }))

const foldersIn = (dir: string): readonly string[] => (existsSync(dir) ? readdirSync(dir).sort() : [])

/** Files of a folder, none below it, as paths from `dir`. */
const filesIn = (dir: string, folder: string): readonly string[] =>
  existsSync(join(dir, folder))
    ? readdirSync(join(dir, folder), { withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ name }) => join(folder, name))
        .sort()
    : []

/** With its mode: keys stay their owner's. */
function copyDurably(from: string, to: string, path: string): void {
  const target = join(to, path)
  makeFolderDurably(dirname(target), 0o700)
  copyFileSync(join(from, path), `${target}.new`)
  sync(`${target}.new`)
  renameDurably(`${target}.new`, target)
}

function sync(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

const isEmpty = (dir: string): boolean => !existsSync(dir) || readdirSync(dir).length === 0

function claimEmpty(dir: string): void {
  if (!isEmpty(dir)) throw new BackupError(`${dir} has something in it: a backup goes into an empty folder`)
  makeFolderDurably(dir, 0o700)
}
