/** An expected failure of a command: printed as one line with its cause and the way out, exit code 1 (2 for a wrong call). */
export class CommandFailure extends Error {
  readonly exitCode: number

  constructor(
    message: string,
    options: { readonly hint?: string; readonly exitCode?: number; readonly cause?: unknown } = {},
  ) {
    super(options.hint === undefined ? message : `${message}\n  ${options.hint}`, { cause: options.cause })
    this.name = 'CommandFailure'
    this.exitCode = options.exitCode ?? 1
  }
}

/** What a file system error means to a person. */
export function fileReason(cause: unknown): string {
  const { code, syscall } = cause as NodeJS.ErrnoException
  // Its parent is there, or would have been made.
  if (code === 'ENOENT' && syscall === 'mkdir') return 'no folder can be made there'
  if (code === 'EEXIST' && syscall === 'mkdir') return 'it is a file, a folder is expected'
  const reasons: Record<string, string> = {
    ENOENT: 'there is no such file or folder',
    EACCES: 'permission denied',
    EISDIR: 'it is a folder, a file is expected',
    ENOTDIR: 'it is a file, a folder is expected',
    ENOSPC: 'the disk is full',
    EROFS: 'the file system is read-only',
    EADDRINUSE: 'another process has that port',
  }
  return reasons[code ?? ''] ?? (cause instanceof Error ? cause.message : String(cause))
}

/** Turns a file system error into a sentence a person can act on. */
export const fileFailure = (path: string, cause: unknown): CommandFailure =>
  new CommandFailure(`${path}: ${fileReason(cause)}`, { cause })
