import { pino } from 'pino'
import { expect, expectTypeOf, it } from 'vitest'
import { contractError } from '../../contract/errors.ts'
import { seededRandom } from '../../contract/random.ts'
import { Uplink } from '../../gateway/cloud-link/uplink.ts'
import { MessageCounters } from '../../gateway/message-counters.ts'
import type { StoreClient } from '../../gateway/store/store-client.ts'
import type { LogFields, Logger } from '../../platform/logger.ts'

// The gateway logged Errors under `error`, where pino writes `{}`: seven log lines said that something had failed and not what.
it('a line about something thrown has its message and its stack', async () => {
  const lines: string[] = []
  const logger: Logger = pino({}, { write: (line: string) => lines.push(line) })
  let asked: () => void = () => undefined
  const failed = new Promise<void>((resolve) => {
    asked = resolve
  })
  const store = {
    ask: async () => {
      asked()
      throw new Error('disk I/O error', { cause: new Error('the medium') })
    },
  } as unknown as StoreClient
  const clock = { wallMs: () => 0, monotonicMs: () => 0, after: () => () => undefined }
  const cloud = undefined as never
  const parts = { cloud, store, clock, logger, counters: new MessageCounters(), random: seededRandom(1) }
  const uplink = new Uplink(parts, 1_000, 500)
  uplink.start()
  await failed
  await uplink.close()
  const { err, msg } = JSON.parse(lines[0]!)
  expect(msg).toBe('uplink failed')
  expect(err).toMatchObject({ type: 'Error', message: expect.stringContaining('disk I/O error') })
  expect(err.stack).toMatch(/logged-error\.test\.ts[\s\S]*the medium/)
})

it('nothing that was thrown can be logged under the name that hides it', () => {
  expectTypeOf<{ error: Error }>().not.toExtend<LogFields>()
  expectTypeOf<{ error: unknown }>().not.toExtend<LogFields>()
  expectTypeOf({ err: new Error('x'), error: contractError('internal', 'x'), rows: 3 }).toExtend<LogFields>()
  const logger = {} as Logger
  // @ts-expect-error an Error
  void (() => logger.error({ error: new Error('x') }, 'failed'))
  // @ts-expect-error whatever was caught
  void ((cause: unknown) => logger.warn({ error: cause }, 'failed'))
  // A logger that takes anything is not told apart from pino's; what the services may hand to it is what counts.
  expectTypeOf<Parameters<Logger['error']>[0]>().toEqualTypeOf<LogFields>()
})
