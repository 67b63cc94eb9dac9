import { expect, it } from 'vitest'
import { tlsOf } from '../../../../cli/services/listening.ts'

it.each(['127.0.0.1', '127.8.8.8', '::1', 'localhost'])('%s is this machine alone: no TLS is needed', (host) => {
  expect(tlsOf({ host })).toBeUndefined()
})

it.each(['0.0.0.0', '::', '192.0.2.1', '::ffff:192.0.2.1', 'cloud.example', '127.0.0.1.example', '127.1'])(
  '%s is not: TLS, or somebody says that he knows',
  (host) => {
    expect(() => tlsOf({ host })).toThrow(/without TLS tokens cross the network in the clear/)
    expect(tlsOf({ host, insecure: true })).toBeUndefined()
    expect(tlsOf({ host, tlsCert: 'c', tlsKey: 'k' })).toEqual({ cert: 'c', key: 'k', clientCa: undefined })
  },
)

it.each([{ tlsCert: 'c' }, { tlsKey: 'k' }, { clientCa: 'a' }])('half of it is none: %o', (files) => {
  expect(() => tlsOf({ host: '127.0.0.1', ...files })).toThrow(/go together/)
})
