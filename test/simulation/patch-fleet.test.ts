import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { MqttClient } from 'mqtt'
import { afterAll, describe, expect, it } from 'vitest'
import { hexToBytes, sha256Hex } from '../../contract/bytes.ts'
import type { Release } from '../../contract/release.ts'
import { provision } from '../../device/core/flash/provision.ts'
import { type Artifact, type Downloading, judgeBlock, nextRequests } from '../../device/core/update/download.ts'
import { DownloadWriter } from '../../device/core/update/download-writer.ts'
import { FlashNor } from '../../firmware-sim/flash-nor.ts'
import { type Gateway, startGateway } from '../../gateway/gateway.ts'
import { makePatch } from '../../release/patch/make-patch.ts'
import { wantedRelease } from '../fixtures/agent.ts'
import {
  connectDevice,
  FakeCloud,
  gatewayOptions,
  tempDir,
  tokenIssuer,
  topic,
} from '../runtime/node/gateway-harness.ts'

/** A thousand devices on real MQTT connections, each with the shipping device's download core, patch decoder and flash writer on a chip
 *  of its own. They are no whole agents: what a boot, a consultation or a check costs is not asked here, and a thousand of each would
 *  be most of a minute. */
const DEVICES = 1_000
const IN_FLIGHT = 4

const zoo = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../zoo/bundles/${name}.kinglet`, import.meta.url)))
const [base, bundle] = [zoo('kws-1'), zoo('kws-2')]
const release: Release = { ...wantedRelease, sha256: sha256Hex(bundle), bytes: bundle.length }
const artifactOf = (kind: Artifact['kind'], bytes: Uint8Array): Artifact & { readonly content: Uint8Array } => ({
  kind,
  sha256: sha256Hex(bytes),
  bytes: bytes.length,
  content: bytes,
})
const patch = artifactOf('patch', makePatch(base, bundle))
const compact = artifactOf('patch', makePatch(null, bundle))
const whole = artifactOf('image', bundle)
/** Most run the base; some come from elsewhere. */
const wantedBy = (i: number) => (i % 25 === 0 ? whole : i % 10 === 0 ? compact : patch)

const factory = new FlashNor({ sizeBytes: 1_048_576 })
const layout = provision(factory, base, 0)
if (!layout.ok) throw new Error(layout.error.detail)
const slots = layout.value.slots

/** One device's download. @returns requests that it made */
function download(client: MqttClient, name: string, artifact: Artifact): Promise<number> {
  const flash = new FlashNor({ sizeBytes: factory.sizeBytes })
  flash.restore(factory.image())
  const writer = new DownloadWriter(flash, layout.ok ? layout.value : never())
  const running = { sha256: hexToBytes(sha256Hex(base)), bytes: base.length }
  const begun = { startedAtMs: 0, requestedAtMs: 0, attempts: 1, damaged: 0 }
  let state: Downloading = { phase: 'downloading', release, artifact, slot: 1, offset: 0, askedTo: 0, ...begun }
  let asked = 0
  const ask = () => {
    const next = nextRequests(state, 0, IN_FLIGHT)
    state = next.state
    for (const payload of next.payloads) {
      asked++
      client.publish(topic(name, 'get'), Buffer.from(payload), { qos: 0 })
    }
  }
  return new Promise((resolve, reject) => {
    // Nobody asks again for what a connection took with it.
    client.once('close', () => reject(new Error(`${name}: the connection ended after ${asked} requests`)))
    client.on('message', (_, payload) => {
      const judged = judgeBlock(state, payload, 0)
      if (!judged.ok) return reject(new Error(judged.error.code))
      const block = judged.value
      if (block.kind !== 'apply') return reject(new Error(`${name}: a block was ${block.kind}`))
      const { data, last } = block
      const applied = writer.apply({ release, artifact, slot: 1, base: running, offset: state.offset, data, last })
      if (!applied.ok) return reject(new Error(applied.error.code))
      state = { ...state, offset: applied.value.offset }
      if (!last) return ask()
      const image = flash.read(slots[1], bundle.length)
      if (createHash('sha256').update(image).digest('hex') === release.sha256) resolve(asked)
      else reject(new Error(`${name} has another image`))
    })
    ask()
  })
}
const never = (): never => {
  throw new Error('no layout')
}

const clients: MqttClient[] = []
const cloud = new FakeCloud()
let gateway: Gateway | undefined
afterAll(async () => {
  for (const client of clients) client.end(true)
  await gateway?.close()
  await cloud.stop()
})

describe('a thousand devices behind one gateway', () => {
  it('get one release, most of them by patch, and the cloud is asked for each artifact once', async () => {
    const issuer = await tokenIssuer()
    await cloud.start()
    for (const { sha256, content } of [patch, compact, whole]) cloud.artifacts.set(sha256, content)
    gateway = await startGateway(gatewayOptions(cloud, tempDir(), { jwks: issuer.jwks }))
    const url = `mqtt://127.0.0.1:${gateway.mqttPort}`
    const names = Array.from({ length: DEVICES }, (_, i) => `bird-${i}`)
    for (let from = 0; from < DEVICES; from += 50) {
      const group = names.slice(from, from + 50).map(async (name) => {
        // No pings: on a busy machine this one process is too late with those of a thousand.
        const client = await connectDevice(url, name, await issuer.token(name), { keepalive: 0 })
        await client.subscribeAsync(topic(name, '#'))
        return client
      })
      clients.push(...(await Promise.all(group)))
    }
    expect(gateway.stats().depths.connectedDevices).toBe(DEVICES)
    const asked = await Promise.all(clients.map((client, i) => download(client, names[i]!, wantedBy(i))))
    const blocks = names.map((_, i) => Math.ceil(wantedBy(i).bytes / 4_096))
    expect(asked).toEqual(blocks)
    const fetched = cloud.requests.filter((request) => request.startsWith('GET /v1/artifacts/')).sort()
    expect(fetched).toEqual([patch, compact, whole].map(({ sha256 }) => `GET /v1/artifacts/${sha256}`).sort())
    expect(gateway.stats().messages.get).toEqual({ served: blocks.reduce((a, b) => a + b) })
  }, 900_000)
})
