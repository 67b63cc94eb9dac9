import { createPrivateKey } from 'node:crypto'
import { createLocalJWKSet, exportJWK, SignJWT } from 'jose'
import { CommandFailure } from '../../cli/failure.ts'
import { packSpecOf, parseSpec, readPackSpec } from '../../cli/model/pack-spec.ts'
import { pipelineFileSchema } from '../../cli/model/pipeline-spec.ts'
import type { DeviceKeyRecord } from '../../cloud/store/identity-store.ts'
import { attestedBy } from '../../cloud/trust/attestation.ts'
import { Challenges } from '../../cloud/trust/challenges.ts'
import { readSignedEvent } from '../../contract/attested-event.ts'
import { decodeBundle, encodeBundle } from '../../contract/bundle.ts'
import { bytesEqual, bytesToHex, hexToBytes } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import type { ContractError } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import { labelsOfPipeline, parseManifest } from '../../contract/manifest.ts'
import {
  blockCodec,
  EVENT_CODES,
  eventCodec,
  getCodec,
  metaCodec,
  metaGetCodec,
  reportCodec,
  verdictCodec,
  wakeCodec,
} from '../../contract/messages.ts'
import { verifyAssignment } from '../../contract/release.ts'
import type { Result } from '../../contract/result.ts'
import { parseSigned } from '../../contract/signed.ts'
import { parseTopic } from '../../contract/topics.ts'
import type { EventRow } from '../../contract/uplink.ts'
import { readRecord } from '../../device/core/flash/boot-record.ts'
import { layoutOf } from '../../device/core/flash/flash-layout.ts'
import { decodeSpool, encodeSpool } from '../../device/core/outbox.ts'
import type { FlashNor } from '../../firmware-sim/flash-nor.ts'
import { admit } from '../../gateway/broker/admission.ts'
import { parseWav } from '../../model/audio/wav.ts'
import { contractSamples } from '../fixtures/contract-samples.ts'
import { assignmentBytes, BOARD, DEVICE, ISSUED_MS, SITE } from '../fixtures/documents.ts'
import { directorKey, strangerKey } from '../fixtures/keys.ts'
import { manifestSample } from '../fixtures/manifest.ts'
import { manifestV2Sample } from '../fixtures/manifest-v2.ts'
import { anomalySpec, fourSpec, sileroSpec, wakeWordSpec } from '../fixtures/pipeline-bundles.ts'
import { wavKinds } from '../fixtures/wav-bytes.ts'
import type { FuzzTarget } from './fuzz-run.ts'
import { codeOf, MIB, must } from './fuzz-soundness.ts'
import { modelTargets } from './fuzz-targets-model.ts'
import { patchTargets } from './fuzz-targets-patch.ts'
import { trustTargets } from './fuzz-targets-trust.ts'

interface Codec<T> {
  readonly maxBytes: number
  encode(message: T): Uint8Array
  decode(data: Uint8Array): Result<T, ContractError>
}

/** A radio message has one encoding: what is accepted is exactly what its sender would have sent. */
function message<T>(name: string, codec: Codec<T>, corpus: readonly Uint8Array[]): FuzzTarget {
  return {
    name,
    corpus,
    tree: 'cbor',
    weight: 10,
    allocationBytes: MIB,
    run(input) {
      const decoded = codec.decode(input)
      if (decoded.ok) {
        must(input.length <= codec.maxBytes, 'accepted beyond its limit')
        must(bytesEqual(codec.encode(decoded.value), input), 'accepted another encoding than its own')
      }
      return codeOf(decoded)
    },
  }
}

function assignment(): FuzzTarget {
  const corpus = [assignmentBytes(), assignmentBytes({ seq: 7 })]
  const context = {
    device: DEVICE,
    site: SITE,
    board: BOARD,
    director: directorKey.role,
    lastSeq: 0,
    nowMs: ISSUED_MS,
  }
  const verify = (input: Uint8Array) => {
    const document = parseSigned(input, LIMITS.assignmentBytes)
    return document.ok ? verifyAssignment(document.value, context) : document
  }
  const known = corpus.map((input) => {
    const verified = verify(input)
    return JSON.stringify(verified.ok ? verified.value : verified.error)
  })
  return {
    name: 'assignment',
    corpus,
    tree: 'json',
    weight: 1,
    allocationBytes: 8 * MIB,
    run(input) {
      const verified = verify(input)
      // White space and a broken second signature may differ; what was signed may not.
      if (verified.ok) must(known.includes(JSON.stringify(verified.value)), 'a changed assignment')
      return codeOf(verified)
    },
  }
}

/** What a gateway hands on as a device's own word: only the very bytes that were signed are. */
function signedEvent(original: Uint8Array): FuzzTarget {
  const read = readSignedEvent(original, DEVICE)
  if (!read.ok || read.value.event.model === undefined) throw new Error('the sample is no signed event')
  const { event } = read.value
  const key: DeviceKeyRecord = {
    ...{ keyId: strangerKey.public.keyId, publicKey: strangerKey.public.publicKey, device: 1 },
    ...{ state: 'active', sinceMs: 0, untilMs: null, signsReports: 0 as const },
  }
  return {
    name: 'signed-event',
    corpus: [original],
    tree: 'cbor',
    weight: 2,
    allocationBytes: MIB,
    run(input) {
      const row: EventRow = {
        ...{ site: SITE, device: DEVICE, boot: event.boot, seq: event.seq, wallMs: event.wallMs, receivedMs: 0 },
        ...{ code: EVENT_CODES[event.code]!, model: bytesToHex(event.model!), assignmentSeq: event.assignmentSeq },
        // As much as the row's schema lets through, and a byte.
        signed: bytesToHex(input.subarray(0, LIMITS.eventBytes + 1)),
      }
      const attested = attestedBy(row, [key])
      must(attested === (bytesEqual(input, original) ? 1 : 0), 'believed what was not signed')
      return attested === 1 ? 'accepted' : 'bad-signature'
    },
  }
}

function challenge(): FuzzTarget {
  const challenges = new Challenges({ bytes: (length) => new Uint8Array(length).fill(7) })
  const original = hexToBytes(challenges.issue(ISSUED_MS))
  return {
    name: 'challenge',
    corpus: [original],
    weight: 2,
    allocationBytes: MIB,
    run(input) {
      const checked = challenges.check(bytesToHex(input.subarray(0, 2 * original.length)), ISSUED_MS)
      must(checked.ok === bytesEqual(input, original), 'a changed challenge')
      return codeOf(checked)
    },
  }
}

function bundle(samples: Readonly<Record<string, Uint8Array>>): FuzzTarget {
  return {
    name: 'bundle',
    corpus: [samples.bundle!],
    weight: 10,
    allocationBytes: 2 * MIB,
    run(input) {
      const decoded = decodeBundle(input)
      if (!decoded.ok) return codeOf(decoded)
      const sections = [...decoded.value].map(([name, data]) => ({ name, data }))
      must(bytesEqual(encodeBundle(sections), input), 'accepted another container than its own')
      return 'accepted'
    },
  }
}

/** The manifest behind the container, whose hashes stop a byte-level mutation: so the mutation comes first and the hashes after. */
function manifest(name: string, sections: ReadonlyMap<string, Uint8Array>): FuzzTarget {
  return {
    name,
    corpus: [sections.get('manifest.json')!],
    tree: 'json',
    weight: 4,
    allocationBytes: 4 * MIB,
    run(input) {
      const parsed = parseManifest(new Map(sections).set('manifest.json', input))
      if (parsed.ok) {
        const { pipelines, ladder } = parsed.value
        must(pipelines.length > 0 && ladder.length > 0, 'a manifest of no pipeline or no level')
        for (const at of pipelines.keys()) labelsOfPipeline(parsed.value, at)
      }
      return codeOf(parsed)
    },
  }
}

function sectionsOf(bundleFile: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const decoded = decodeBundle(bundleFile)
  if (!decoded.ok) throw new Error(decoded.error.detail)
  return decoded.value
}

/** A manifest of pipelines and sections of the sizes that it says. */
const pipelineSections = (): ReadonlyMap<string, Uint8Array> =>
  new Map([
    ['manifest.json', new TextEncoder().encode(JSON.stringify(manifestV2Sample))],
    ['golden.bin', new Uint8Array(10)],
    ...manifestV2Sample.graphs.map(({ id }) => [`graph/${id}`, new Uint8Array(1)] as const),
  ])

/** Pack files, YAML of a person. What is wrong is told as a failure of the command, with file, line and column; whatever else is thrown is a bug. */
function packFile(): FuzzTarget {
  const simple = {
    ...{ name: 'kws', version: 1, parent: null, securityCounter: 0, labels: ['no', 'yes'], boards: [] },
    featureQuantization: { scale: 0.5, zeroPoint: 3 },
    graphs: [{ id: 'full', file: 'full.onnx' }],
    ladder: [{ level: 'full', graph: 'full', hopFrames: 10, gate: null }],
    policy: manifestSample.policy,
    golden: { audio: 'clips', count: 4, tolerance: 0.1 },
  }
  const texts = [sileroSpec(), wakeWordSpec, fourSpec, anomalySpec]
  const corpus = [...texts, JSON.stringify({ ...simple, policy: { ...simple.policy, ignoreLabels: ['no'] } })]
  return {
    name: 'pack-file',
    corpus: corpus.map((text) => new TextEncoder().encode(text)),
    weight: 4,
    // A tree of the text with the place of each word, hundreds of bytes for each.
    allocationBytes: 512 * MIB,
    run(input) {
      try {
        // The command reads no more of a file.
        if (input.length > 1024 * 1024) return 'too-large'
        const opened = packSpecOf(new TextDecoder().decode(input), 'pack.yaml')
        if ('pipelines' in opened.json) parseSpec(pipelineFileSchema, opened)
        else readPackSpec(opened)
        return 'accepted'
      } catch (cause) {
        if (!(cause instanceof CommandFailure)) throw cause
        must(cause.message.startsWith('pack.yaml'), `a failure that names no file: ${cause.message}`)
        return 'refused'
      }
    },
  }
}

function wav(clip: Uint8Array): FuzzTarget {
  return {
    name: 'wav',
    corpus: [clip, ...wavKinds()],
    weight: 4,
    // A clip of 8-bit samples becomes four times as many bytes of floats, and those again when it is resampled.
    allocationBytes: 64 * MIB,
    ignoresTail: true,
    run: (input) => codeOf(parseWav(input)),
  }
}

/** Both copies of the boot record as a chip may return them. The record is not signed: its checksum finds rot, and what an attacker
 *  writes to the chip is checked where it is used. */
function bootRecord(flashOf: () => FlashNor): FuzzTarget {
  const flash = flashOf()
  const layout = layoutOf(flash)
  if (!layout.ok) throw new Error(layout.error.detail)
  const regionBytes = 2 * flash.sectorBytes
  const original = flash.read(0, regionBytes).slice()
  const whole = JSON.stringify(readRecord(flash, layout.value))
  const reader = { ...portOf(flash), read: (_offset: number, _length: number) => new Uint8Array(0) }
  return {
    name: 'boot-record',
    corpus: [original],
    weight: 4,
    allocationBytes: MIB,
    ignoresTail: true,
    run(input) {
      const chip = new Uint8Array(regionBytes).fill(0xff)
      chip.set(input.subarray(0, regionBytes))
      reader.read = (offset, length) => chip.subarray(offset, offset + length)
      const found = readRecord(reader, layout.value)
      if (found === undefined) return 'no-record'
      must(JSON.stringify(found) === whole, 'a changed record passes its checksum')
      return 'accepted'
    },
  }
}

const portOf = (flash: FlashNor) => ({
  sizeBytes: flash.sizeBytes,
  sectorBytes: flash.sectorBytes,
  programBytes: flash.programBytes,
  read: flash.read.bind(flash),
  erase: flash.erase.bind(flash),
  program: flash.program.bind(flash),
})

function spool(samples: Readonly<Record<string, Uint8Array>>): FuzzTarget {
  const messages = [
    { id: 1, kind: 'report' as const, payload: samples.report!, inFlight: false },
    { id: 2, kind: 'wake' as const, payload: samples.wake!, inFlight: false },
    { id: 3, kind: 'event' as const, payload: samples.event!, inFlight: false },
  ]
  return {
    name: 'spool',
    corpus: [encodeSpool(messages)],
    tree: 'cbor',
    weight: 4,
    allocationBytes: 8 * MIB,
    run(input) {
      const { messages: found } = decodeSpool(input)
      must(found.length <= 1_000, `${found.length} messages of ${input.length} bytes`)
      return found.length > 0 ? 'accepted' : 'empty'
    },
  }
}

function topic(): FuzzTarget {
  const prefix = `kinglet/v1/${SITE}/${DEVICE}/`
  const texts = [`${prefix}report`, `${prefix}assign`, `${prefix}block/${'5a'.repeat(32)}`]
  return {
    name: 'topic',
    corpus: texts.map((text) => new TextEncoder().encode(text)),
    weight: 4,
    allocationBytes: 256 * MIB,
    run(input) {
      const text = new TextDecoder().decode(input)
      const parsed = parseTopic(text)
      if (parsed.ok) must(!/[+#\0\s]/.test(text), 'a wildcard or a blank in a topic')
      return codeOf(parsed)
    },
  }
}

async function deviceToken(clock: Clock): Promise<FuzzTarget> {
  const seed = new Uint8Array(32).fill(9)
  const der = Buffer.concat([hexToBytes('302e020100300506032b657004220420'), seed])
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const { d: _secret, ...jwk } = await exportJWK(privateKey)
  const key = createLocalJWKSet({ keys: [{ ...jwk, kid: 'k', alg: 'EdDSA', use: 'sig' }] })
  const token = await new SignJWT({ site: SITE, board: BOARD })
    .setProtectedHeader({ alg: 'EdDSA', kid: 'k' })
    .setSubject(DEVICE)
    .setIssuer('kinglet-cloud')
    .setAudience('kinglet-gateway')
    .setIssuedAt(Math.floor(ISSUED_MS / 1000))
    .setExpirationTime(Math.floor(ISSUED_MS / 1000) + 3_600)
    .sign(privateKey)
  const original = new TextEncoder().encode(token)
  const originalParts = token.split('.')
  return {
    name: 'jwt',
    corpus: [original],
    weight: 2,
    allocationBytes: 512 * MIB,
    async run(input) {
      const password = input
      const claim = { clientId: DEVICE, username: DEVICE, password, will: undefined }
      const admitted = await admit(claim, { key }, clock)
      if (admitted.ok) {
        const [header, payload] = Buffer.from(input).toString('latin1').split('.')
        must(header === originalParts[0] && payload === originalParts[1], 'a changed token')
      }
      return codeOf(admitted)
    },
  }
}

export interface FuzzFiles {
  readonly bundle: Uint8Array
  readonly graph: Uint8Array
  readonly clip: Uint8Array
  /** a provisioned device */
  readonly flash: () => FlashNor
}

/** Every decoder that reads what a network, a flash chip or a file brought. */
export async function fuzzTargets(files: FuzzFiles): Promise<readonly FuzzTarget[]> {
  const samples = contractSamples()
  const some = (...names: string[]) => names.map((name) => samples[name]!)
  const clock: Clock = { wallMs: () => ISSUED_MS, monotonicMs: () => 0, after: () => () => undefined }
  return [
    message('report', reportCodec, some('report')),
    message('wake', wakeCodec, some('wake')),
    message('event', eventCodec, some('event', 'event-bare', 'event-signed')),
    message('get', getCodec, some('get')),
    message('block', blockCodec, some('block', 'block-error')),
    message('meta-get', metaGetCodec, some('meta-get')),
    message('meta', metaCodec, some('meta', 'meta-error')),
    message('verdict', verdictCodec, some('verdict')),
    assignment(),
    signedEvent(samples['event-signed']!),
    challenge(),
    bundle(samples),
    manifest('manifest', sectionsOf(files.bundle)),
    manifest('manifest-v2', pipelineSections()),
    packFile(),
    ...modelTargets(files.graph),
    ...patchTargets(),
    wav(files.clip),
    bootRecord(files.flash),
    ...trustTargets(),
    spool(samples),
    topic(),
    await deviceToken(clock),
  ]
}
