import { FlashOpfs, type SyncFile } from '../../../device/browser/flash-opfs.ts'
import { flashSuite } from '../../contract/flash.suite.ts'
import { results } from './vitest-in-worker.ts'

/** In a worker: the suite of every flash on files of the browser. Opening a file takes a promise, which the suite does not wait for: they are
 *  opened before, more than it has tests. */
const FILES = 40

interface Scope {
  readonly navigator: {
    readonly storage: {
      getDirectory(): Promise<{
        getFileHandle(
          name: string,
          options: { create: true },
        ): Promise<{ createSyncAccessHandle(): Promise<SyncFile & { truncate(size: number): void }> }>
      }>
    }
  }
  postMessage(message: unknown): void
}
const scope = globalThis as unknown as Scope

async function run(): Promise<void> {
  const folder = await scope.navigator.storage.getDirectory()
  const files: SyncFile[] = []
  for (let i = 0; i < FILES; i++) {
    const handle = await folder.getFileHandle(`suite-${i}`, { create: true })
    const file = await handle.createSyncAccessHandle()
    file.truncate(0)
    files.push(file)
  }
  flashSuite((sizeBytes) => {
    const file = files.pop()
    if (file === undefined) throw new Error('no file is left')
    return {
      flash: FlashOpfs.open(file, sizeBytes),
      reopen: () => FlashOpfs.open(file, sizeBytes),
      dispose: () => file.close(),
    }
  })
  scope.postMessage(await results())
}
run().catch((cause: unknown) => scope.postMessage([['the suite', String(cause)]]))
