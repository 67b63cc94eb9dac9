import { createPublicKey, sign } from 'node:crypto'
import { ed25519FromSeed } from '../../cloud/trust/ed25519.ts'
import { bytesToHex } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import type { Sign } from '../../contract/device-proof.ts'
import { present } from '../../contract/present.ts'
import { type SeededRandom, seededRandom } from '../../contract/random.ts'
import { parseDeviceId, parseSiteId } from '../../contract/topics.ts'
import { TransportMqtt } from '../../device/link/transport-mqtt.ts'
import type { ClockMaster } from '../../firmware-sim/clock-shared.ts'
import { VirtualClock } from '../../firmware-sim/clock-virtual.ts'
import { SharedEngine } from '../../firmware-sim/engine-shared.ts'
import { Fleet } from '../../firmware-sim/fleet.ts'
import { planFleet } from '../../firmware-sim/fleet-plan.ts'
import { Hearing } from '../../firmware-sim/hearing.ts'
import { Ledger } from '../../firmware-sim/ledger.ts'
import { rememberedSchemes } from '../../firmware-sim/power-cut/remembered-signatures.ts'
import { scenePools, soundSenses, soundTakes, type Take } from '../../firmware-sim/scene.ts'
import type { CloudApi } from '../cloud-api.ts'
import { bundleEngine } from '../engines.ts'
import { chance } from '../random-secure.ts'
import { openSoundBank } from '../sound-bank-folder.ts'
import { familyOf, type StoryFamily } from './story-families.ts'

export interface StoryFleet {
  readonly fleet: Fleet<Take>
  readonly ledger: Ledger
  readonly hearing: Hearing<Take>
  /** what each device follows, by its name */
  readonly families: ReadonlyMap<string, StoryFamily>
  readonly time: VirtualClock
  /** lets the noise floor rise from now on, over the next hours */
  raiseNoise(overHours: number): void
  close(): Promise<void>
}

const HOUR_MS = 3_600_000
/** Real ms; a restarted gateway is found again within this. */
const RECONNECT_MS = 250

/** Validity of the devices' tokens. Time runs 3 600 times faster here: tokens of an hour, as devices with a key fetch them, would be 240
 *  proofs to the cloud in every second. The story's devices are imported with their keys, sign what they install, and have long
 *  tokens. */
const TOKEN_SECONDS = 365 * 86_400

/** A device's key, from the story's seed. Signs with node:crypto: the bytes are those of tweetnacl, fifty times sooner. */
function storyKey(device: string, random: SeededRandom): { readonly publicKey: string; readonly sign: Sign } {
  const stream = random.fork(`key of ${device}`)
  const seed = Uint8Array.from({ length: 32 }, () => Math.floor(stream.next() * 256))
  const secret = ed25519FromSeed(seed)
  // The last 32 bytes of its DER form are the key itself (RFC 8410).
  const publicKey = createPublicKey(secret).export({ format: 'der', type: 'spki' }).subarray(-32)
  return {
    publicKey: bytesToHex(publicKey),
    sign: (message) => new Uint8Array(sign(null, message, secret)),
  }
}

/** Enrols the devices of the story with the cloud and boots them on real MQTT. */
export async function startStoryFleet(options: {
  readonly devices: number
  readonly seed: number
  readonly startMs: number
  readonly bankDir: string
  readonly families: readonly StoryFamily[]
  /** bundle by the name of its release */
  readonly imageOf: (release: string) => Uint8Array
  /** root of the image repository that the devices are built with */
  readonly trustRoot: Uint8Array
  readonly api: CloudApi
  readonly mqttUrl: string
  readonly master: ClockMaster
  readonly real: Clock
  /** how far the start is */
  readonly doing: (what: () => string) => void
}): Promise<StoryFleet> {
  const { devices, seed, startMs, api, master, real } = options
  const random = seededRandom(seed)
  const bank = openSoundBank(options.bankDir)
  const specs = planFleet(devices, startMs, random.fork('fleet'))
  const families = new Map(specs.map((spec, i) => [spec.device, familyOf(options.families, spec, i)]))
  const ofDevice = (device: string): StoryFamily => present(families.get(device), `the family of ${device}`)
  const tokens = new Map<string, string>()
  const keyRandom = random.fork('keys')
  const deviceKeys = new Map(specs.map(({ device }) => [device, storyKey(device, keyRandom)]))
  options.doing(() => `enrolling devices: ${tokens.size} of ${devices}`)
  // In parts, as an operator's import would: the API bounds the rows of one request.
  for (let from = 0; from < specs.length; from += 500) {
    const rows = specs.slice(from, from + 500).map(({ device, site, board, scene }) => ({
      device,
      site,
      board: board.name,
      tags: [scene.name],
      model: ofDevice(device).factory,
      family: ofDevice(device).name,
      publicKey: present(deviceKeys.get(device), `the key of ${device}`).publicKey,
      ttlSeconds: TOKEN_SECONDS,
    }))
    const enrolled = await api.postAgain<{ devices: { device: string; token: string }[] }>('/v1/devices', rows)
    for (const { device, token } of enrolled.devices) tokens.set(device, token)
  }
  let booted = 0
  options.doing(() => `booting devices: ${booted} of ${devices}`)
  const time = new VirtualClock(startMs)
  const ledger = new Ledger()
  const hearing = new Hearing(soundSenses(bank, random.fork('sounds')))
  const engine = new SharedEngine(bundleEngine())
  const drift = { fromMs: Number.POSITIVE_INFINITY, overMs: 1 }
  const fleet = await Fleet.start({
    specs,
    world: {
      engine,
      hearing,
      ledger,
      takesOf: soundTakes(scenePools([...bank.keywords.keys()]), () =>
        Math.min(1, Math.max(0, (time.wallMs() - drift.fromMs) / drift.overMs)),
      ),
      trustRoot: options.trustRoot,
      schemes: rememberedSchemes(),
      signOf: ({ device }) => present(deviceKeys.get(device), `the key of ${device}`).sign,
    },
    time,
    master,
    real,
    factoryImage: ({ device }) => options.imageOf(ofDevice(device).factory),
    transportOf({ device, site }) {
      const ids = { device: parseDeviceId(device), site: parseSiteId(site) }
      if (!ids.device.ok || !ids.site.ok) throw new Error(`bad id ${site}/${device}`)
      return new TransportMqtt({
        url: options.mqttUrl,
        site: ids.site.value,
        device: ids.device.value,
        token: () => present(tokens.get(device), `the token of ${device}`),
        reconnectMs: RECONNECT_MS,
        chance,
      })
    },
    random: random.fork('devices'),
    onBooted: (count) => {
      booted = count
    },
  })
  return {
    fleet,
    ledger,
    hearing,
    families,
    time,
    raiseNoise(overHours) {
      drift.fromMs = time.wallMs()
      drift.overMs = overHours * HOUR_MS
    },
    async close() {
      await fleet.close()
      await engine.close()
    },
  }
}
