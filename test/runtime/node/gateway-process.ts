import { startGateway } from '../../../gateway/gateway.ts'
import type { GatewayOptions } from '../../../gateway/gateway-options.ts'
import { FakeCloud, fakeEngine, gatewayOptions } from './gateway-harness.ts'

/** A gateway in a process of its own, its store in a thread of its own, to be killed or closed. Options come as JSON; `verifierDelayMs` keeps wakes pending for a while. */
const { cloudUrl, dataDir, jwks, verifierDelayMs } = JSON.parse(process.argv[2]!) as {
  cloudUrl: string
  dataDir: string
  jwks: NonNullable<GatewayOptions['jwks']>
  verifierDelayMs: number
}
const prompt = fakeEngine()
const engine: GatewayOptions['engine'] = {
  name: 'slow',
  async load(graph) {
    const session = await prompt.load(graph)
    if (!session.ok) return session
    const { run } = session.value
    const value = {
      ...session.value,
      run: async (window: Parameters<typeof run>[0]) => {
        await new Promise((resolve) => setTimeout(resolve, verifierDelayMs))
        return run(window)
      },
    }
    return { ok: true, value }
  },
}
const options = gatewayOptions(new FakeCloud(), dataDir, { jwks, engine, storeInProcess: false })
const gateway = await startGateway({ ...options, cloudUrl })
process.send!({ mqttPort: gateway.mqttPort })
const answer = async (request: unknown) => {
  if (request === 'close') {
    await gateway.close()
    // Ends by itself now, or something was left open.
    process.disconnect()
  } else {
    process.send!({ stats: gateway.stats(), sums: await gateway.deviceSums('d1') })
  }
}
process.on('message', (request) => void answer(request))
