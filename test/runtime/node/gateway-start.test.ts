import { existsSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startGateway } from '../../../gateway/gateway.ts'
import { FakeCloud, gatewayOptions, tempDir } from './gateway-harness.ts'

const occupy = (port: number): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
const portOf = (server: Server): number => (server.address() as AddressInfo).port
const release = (server: Server) => new Promise<void>((resolve) => server.close(() => resolve()))

let cloud: FakeCloud
beforeEach(async () => {
  cloud = await new FakeCloud().start()
})
afterEach(() => cloud.stop())

describe('a gateway that cannot start', () => {
  it.each(['mqttPort', 'wsPort', 'httpPort'] as const)(
    'gives back ports and store when its %s is taken',
    async (which) => {
      const taken = await occupy(0)
      // Free a moment ago: nothing else asks for these by number.
      const free = await Promise.all([occupy(0), occupy(0), occupy(0)])
      const [mqttPort, wsPort, httpPort] = free.map(portOf) as [number, number, number]
      await Promise.all(free.map(release))
      const dataDir = tempDir()
      const options = gatewayOptions(cloud, dataDir, { mqttPort, wsPort, httpPort })
      await expect(startGateway({ ...options, [which]: portOf(taken) })).rejects.toMatchObject({ code: 'EADDRINUSE' })
      await Promise.all((await Promise.all([mqttPort, wsPort, httpPort].map(occupy))).map(release))
      // SQLite removes the log when the last connection to a store is closed.
      expect(existsSync(join(dataDir, 'gateway.sqlite'))).toBe(true)
      expect(existsSync(join(dataDir, 'gateway.sqlite-wal'))).toBe(false)
      const gateway = await startGateway(options)
      await gateway.close()
      await release(taken)
    },
  )

  it('says so when the store is none', async () => {
    const dataDir = tempDir()
    writeFileSync(join(dataDir, 'gateway.sqlite'), 'not a store'.repeat(100))
    const starting = startGateway(gatewayOptions(cloud, dataDir))
    await expect(starting).rejects.toMatchObject({ code: 'SQLITE_NOTADB', message: 'file is not a database' })
  })

  it('gives back its store when the verifier’s graph cannot be loaded', async () => {
    const dataDir = tempDir()
    const options = gatewayOptions(cloud, dataDir)
    const broken = { ...options.verifier!, graph: new Uint8Array(0) }
    await expect(startGateway({ ...options, verifier: broken })).rejects.toThrow('engine-load-failed')
    expect(existsSync(join(dataDir, 'gateway.sqlite-wal'))).toBe(false)
  })
})
