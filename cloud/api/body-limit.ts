import type { MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { CloudEnv } from './environment.ts'
import { fail } from './problem.ts'

/** Refuses a body above the limit before any of it is parsed; bodies of unknown length are counted as they stream. */
export const bodyLimitOf = (maxBytes: number): MiddlewareHandler<CloudEnv> =>
  bodyLimit({ maxSize: maxBytes, onError: () => fail('too-large', `the body may have ${maxBytes} bytes`) })
