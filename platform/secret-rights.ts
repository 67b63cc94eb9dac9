import { chmodSync, statSync } from 'node:fs'

/** what anybody but the owner may do */
const OTHERS = 0o077

/** Sees to it that only its owner gets at a file with a secret, one that is there already and may have come by a copy, an archive or an older
 *  release. Only our own file is changed: somebody else's may be shared on purpose, and is told of. A pipe or a device has no rights to mend.
 *  @param path a link is followed
 *  @returns undefined when nobody else could get at it; else what was found and what was done, in a sentence for a person or a log
 *  @throws what the file system throws when there is no such file */
export function tightenSecret(path: string): string | undefined {
  const { mode, uid } = statSync(path)
  // No such thing as an owner on Windows, where the mode says nothing either.
  const self = process.geteuid?.()
  if (self === undefined || !isWide(path)) return undefined
  const found = `${path} holds a secret, and others could get at it (mode ${octal(mode)})`
  const copied = 'whoever could read it may have a copy: replace the secret if that matters'
  if (uid !== self) return `${found}: it is somebody else's and stays so until its owner makes it mode 0600; ${copied}`
  try {
    chmodSync(path, 0o600)
  } catch (cause) {
    return `${found}, and its mode cannot be changed (${(cause as NodeJS.ErrnoException).code}): put it on a file system with owners; ${copied}`
  }
  // A file system without owners (FAT, some shares) takes it and does nothing.
  if (isWide(path)) return `${found}, and its file system knows no owners: put it on one that does; ${copied}`
  return `${found}: it is mode 0600 now, but ${copied}`
}

function isWide(path: string): boolean {
  const stats = statSync(path)
  return stats.isFile() && (stats.mode & OTHERS) !== 0
}

const octal = (mode: number): string => `0${(mode & 0o777).toString(8)}`
