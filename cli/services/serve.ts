import { CommandFailure, fileFailure } from '../failure.ts'

interface Service {
  /** reads again the files that may change while it runs; what fails is logged by the service */
  reload(): Promise<void>
  close(): Promise<void>
}

/** chosen: what has begun to start gets so long to be closed in order */
const STARTING_MS_MAX = 10_000

/** Runs a service until SIGINT or SIGTERM, then closes it in order. On SIGHUP it reads its files again: a terminal that is closed, or a tool that
 *  has put new files in place, must not end it. A service that a supervisor started with a channel ends with the supervisor too, even one that
 *  was killed. */
export async function serve(start: () => Promise<Service>): Promise<void> {
  const supervised = process.connected === true
  let service: Service | undefined
  const asked = new Promise<void>((resolve) => {
    const stop = (): void => {
      resolve()
      // A start that hangs must not keep a process that is told to end.
      if (service === undefined) setTimeout(() => service ?? process.exit(1), STARTING_MS_MAX).unref()
    }
    // Before the start: it is told to end as soon as it says that it is up.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop)
    if (supervised) process.once('disconnect', stop)
  })
  // From the first moment on: while it starts there is nothing to read again yet.
  process.on('SIGHUP', () => {
    service?.reload().catch((cause: unknown) => console.error('reload failed:', cause))
  })
  try {
    service = await start()
  } catch (cause) {
    if (cause instanceof CommandFailure) throw cause
    const { code, path } = cause as NodeJS.ErrnoException
    if (path !== undefined) throw fileFailure(path, cause)
    const hint =
      code === 'EADDRINUSE' ? 'another process has that port; give another with the --…port option' : undefined
    throw new CommandFailure(cause instanceof Error ? cause.message : String(cause), { cause, ...(hint && { hint }) })
  }
  if (!supervised || process.connected) await asked
  await service.close()
  // An open channel would keep the process.
  if (process.connected) process.disconnect()
}
