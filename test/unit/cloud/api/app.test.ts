import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningCloud, startCloud } from '../../../../cloud/cloud.ts'
import { DEFAULT_GATE_POLICY } from '../../../../cloud/rollout/gate-defaults.ts'
import { sha256Hex } from '../../../../contract/bytes.ts'
import { seededRandom } from '../../../../contract/random.ts'
import { type Release, verifyAssignment } from '../../../../contract/release.ts'
import { directorOf } from '../../../../contract/repository-target.ts'
import { assignmentFeedSchema } from '../../../../contract/uplink.ts'
import { makePatch } from '../../../../release/patch/make-patch.ts'
import { ManualClock } from '../../../fixtures/cloud-world.ts'
import { gatewayToken as tokenOf } from '../../../fixtures/gateway-token.ts'
import { operatorMachine } from '../../../fixtures/operator-machine.ts'
import { batchOf, HOUR, SyntheticDevice, T0 } from '../../../fixtures/synthetic-fleet.ts'
import { testRelease } from '../../../fixtures/test-release.ts'

const silent = { info: () => undefined, warn: () => undefined, error: (fields: object) => console.error(fields) }

describe('cloud over HTTP', () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'kinglet-cloud-'))
  const clock = new ManualClock()
  let cloud: RunningCloud
  let gatewayToken: string

  const boot = () =>
    startCloud({
      ...{ dataDir, host: '127.0.0.1', port: 0, clock, logger: silent },
      secureRandom: { bytes: (length) => new Uint8Array(randomBytes(length)) },
    })
  const call = async (method: string, path: string, body?: unknown, token: string | null = cloud.operatorToken) => {
    const raw = body instanceof Uint8Array
    const response = await fetch(cloud.url + path, {
      method,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined || raw ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: raw ? Buffer.from(body) : JSON.stringify(body) }),
    })
    const text = await response.text()
    // biome-ignore lint/suspicious/noExplicitAny: the shape is what the tests check
    let json: any
    try {
      json = JSON.parse(text)
    } catch {
      json = undefined
    }
    return { status: response.status, json, text, headers: response.headers }
  }

  /** A PUT that says how long its body is and sends none of it: on a connection of its own, which the server closes some time after it has
   *  refused what is left. */
  const announce = (path: string, bytes: number) =>
    new Promise<{ status: number; json: unknown }>((resolve, reject) => {
      const headers = { authorization: `Bearer ${cloud.operatorToken}`, 'content-length': bytes }
      const sent = request(cloud.url + path, { method: 'PUT', headers, agent: false }, (response) => {
        const read = async () => {
          const text = Buffer.concat(await response.toArray()).toString()
          sent.destroy()
          return { status: response.statusCode ?? 0, json: JSON.parse(text) as unknown }
        }
        read().then(resolve, reject)
      })
      sent.on('error', reject).flushHeaders()
    })

  beforeAll(async () => {
    cloud = await boot()
    gatewayToken = await tokenOf(cloud, 'gateway-1', ['site-1', 's'], 365 * 86_400)
  })
  afterAll(async () => {
    await cloud.close()
    rmSync(dataDir, { recursive: true })
  })

  const v1 = testRelease('kws-1', 1)
  const v2 = testRelease('kws-2', 2, { parent: v1.sha256 })

  it('keys and tokens are private files, the first start makes them, the second finds them', async () => {
    for (const name of ['keys/director.seed', 'keys/online.seed', 'keys/tokens.seed', 'operator.token']) {
      expect(statSync(join(dataDir, name)).mode & 0o777, name).toBe(0o600)
    }
    const { directorKey, operatorToken } = cloud
    await cloud.close()
    cloud = await boot()
    expect(cloud.directorKey).toEqual(directorKey)
    expect(cloud.operatorToken).toBe(operatorToken)
    expect(readFileSync(join(dataDir, 'operator.token'), 'utf8').trim()).toBe(operatorToken)
  })

  it('refuses without a token, with a foreign one, with an expired one, and beyond the role', async () => {
    expect(await call('GET', '/v1/devices', undefined, null)).toMatchObject({
      status: 401,
      json: { code: 'token-invalid' },
    })
    expect(await call('GET', '/v1/devices', undefined, 'a.b.c')).toMatchObject({ status: 401 })
    const { token } = await cloud.tokens.mintService('old', 'viewer', -HOUR)
    expect(await call('GET', '/v1/devices', undefined, token)).toMatchObject({ json: { code: 'token-expired' } })
    const denied = await call('POST', '/v1/rollouts', { name: 'kws-2' }, gatewayToken)
    expect(denied).toMatchObject({ status: 403, json: { code: 'not-authorized' } })
    expect(denied.headers.get('content-type')).toBe('application/problem+json')
    expect((await call('GET', '/healthz', undefined, null)).status).toBe(200)
  })

  it('artifacts: hash checked, bounded, idempotent, with ranges', async () => {
    expect(await call('PUT', `/v1/artifacts/${v2.sha256}`, v1.bundle)).toMatchObject({
      status: 422,
      json: { code: 'hash-mismatch' },
    })
    expect(await call('PUT', `/v1/artifacts/${v1.sha256}`, v1.bundle)).toMatchObject({
      status: 201,
      json: { created: true },
    })
    expect(await call('PUT', `/v1/artifacts/${v1.sha256}`, v1.bundle)).toMatchObject({ status: 200 })
    expect(await announce(`/v1/artifacts/${v1.sha256}`, 4 * 1024 * 1024 + 1)).toMatchObject({
      status: 413,
      json: { code: 'too-large' },
    })
    // No release that a device may need: not a gateway's business.
    expect(await call('GET', `/v1/artifacts/${v1.sha256}`, undefined, gatewayToken)).toMatchObject({ status: 404 })
    const headers = { authorization: `Bearer ${cloud.operatorToken}`, range: 'bytes=4-9' }
    const part = await fetch(`${cloud.url}/v1/artifacts/${v1.sha256}`, { headers })
    expect(part.status).toBe(206)
    expect(part.headers.get('content-range')).toBe(`bytes 4-9/${v1.bundle.length}`)
    expect(new Uint8Array(await part.arrayBuffer())).toEqual(v1.bundle.slice(4, 10))
    expect(await call('GET', `/v1/artifacts/${'0'.repeat(64)}`)).toMatchObject({
      status: 404,
      json: { code: 'artifact-not-found' },
    })
  })

  const operator = operatorMachine(dataDir, clock, { keys: 'offline', repo: 'repo' })
  const publish = (files = operator.repository.uploadsFor({})) => {
    const decoder = new TextDecoder()
    return call('POST', '/v1/metadata', {
      files: files.map(({ file, content }) => ({ file, content: decoder.decode(content) })),
    })
  }
  /** Signs releases into the image repository and publishes it. */
  const released = async (...releases: Release[]) => {
    for (const release of releases) await operator.lifecycle.addRelease(release)
    return publish(operator.repository.uploadsFor((await call('GET', '/v1/metadata')).json.versions))
  }
  const register = ({ name, version }: Release) => call('POST', '/v1/models', { name, version })

  it('releases: only what the image repository has and the bundle confirms', async () => {
    expect(await register(v1.release)).toMatchObject({ status: 404, json: { code: 'target-unknown' } })
    expect((await register(v1.release)).json.detail).toContain('"kinglet release add"')
    // The answer of GET /v1/keys, saved, is all that `keys init` needs of the cloud.
    const cloudKeyFile = join(dataDir, 'saved-keys.json')
    writeFileSync(cloudKeyFile, (await call('GET', '/v1/keys', undefined, null)).text)
    const counts = { rootKeys: 1, rootThreshold: 1, targetsKeys: 1, rootKeyFiles: [] }
    await operator.lifecycle.init({ cloudKeyFile, ...counts })
    expect((await publish()).status).toBe(200)
    expect(await register(v1.release)).toMatchObject({ json: { code: 'target-unknown' } })
    // The cloud takes no release from whoever asks: not a document, not with a signature.
    const smuggled = await call('POST', '/v1/models', { name: 'kws-1', version: 1, release: v1.release })
    expect(smuggled).toMatchObject({ status: 400, json: { code: 'invalid-request' } })
    const lying = testRelease('kws-9', 9, { manifest: { name: 'kws-8' } })
    await call('PUT', `/v1/artifacts/${lying.sha256}`, lying.bundle)
    expect((await released(v1.release, lying.release)).status).toBe(200)
    expect(await register(lying.release)).toMatchObject({ json: { code: 'contradicts-release' } })
    expect(await register(v1.release)).toMatchObject({
      status: 200,
      json: { name: 'kws-1', state: 'candidate', parent: null },
    })
    expect((await register(v1.release)).status).toBe(200)
    expect((await register({ ...v1.release, version: 2 })).json.code).toBe('target-unknown')
    await call('PUT', `/v1/artifacts/${v2.sha256}`, v2.bundle)
    await released(v2.release)
    expect((await register(v2.release)).json.parent).toBe(v1.sha256)
    expect(await call('POST', '/v1/models/kws-1/promote', { to: 'production', reason: 'first' })).toMatchObject({
      status: 409,
      json: { code: 'conflict' },
    })
    for (const to of ['staging', 'production']) {
      expect((await call('POST', '/v1/models/kws-1/promote', { to, reason: 'first' })).json.state).toBe(to)
    }
    await call('POST', '/v1/models/kws-2/promote', { to: 'staging', reason: 'passed offline' })
    expect((await call('POST', '/v1/models/kws-2/promote', { to: 'production', reason: 'hurry' })).status).toBe(409)
    const { models } = (await call('GET', '/v1/models')).json
    expect(models[0].history.map(({ to }: { to: string }) => to)).toEqual(['candidate', 'staging', 'production'])
  })

  it('patches: only those that the signed document names, and no release without them', async () => {
    const v3 = testRelease('kws-3', 3)
    // Incompressible, so that a patch of bytes as they are is small beside it.
    const patches = [v1, v2].map(({ bundle }) => makePatch(bundle, v3.bundle))
    const named = (bytes: Uint8Array, base: string | null) => ({ base, sha256: sha256Hex(bytes), bytes: bytes.length })
    const listed = [named(patches[0]!, v1.sha256), named(patches[1]!, v2.sha256)]
    // Signed by mistake: it begins at kws-1 and is listed for a bundle that is nobody's.
    const mistaken = makePatch(v1.bundle, v3.bundle)
    expect(mistaken).toEqual(patches[0])
    const release: Release = { ...v3.release, patches: listed }
    const at = '/v1/models/kws-3/3/patches'
    const put = (bytes: Uint8Array, sha256 = sha256Hex(bytes)) => call('PUT', `${at}/${sha256}`, bytes)
    expect(await put(patches[0]!)).toMatchObject({ status: 404, json: { code: 'target-unknown' } })
    await call('PUT', `/v1/artifacts/${v3.sha256}`, v3.bundle)
    expect((await released(release)).status).toBe(200)
    expect(await register(v3.release)).toMatchObject({ status: 404, json: { code: 'artifact-not-found' } })
    expect(await put(new Uint8Array(10))).toMatchObject({ status: 422, json: { code: 'contradicts-release' } })
    expect(await put(patches[0]!.subarray(1), listed[0]!.sha256)).toMatchObject({ json: { code: 'size-mismatch' } })
    const spoiled = patches[0]!.map((byte, i) => (i === patches[0]!.length - 1 ? byte ^ 1 : byte))
    expect(await put(spoiled, listed[0]!.sha256)).toMatchObject({ json: { code: 'hash-mismatch' } })
    const stored = async () => (await call('GET', at)).json.patches.map((patch: { stored: boolean }) => patch.stored)
    expect(await stored()).toEqual([false, false])
    expect(await put(patches[0]!)).toMatchObject({ status: 200, json: { created: true } })
    expect(await put(patches[0]!)).toMatchObject({ status: 200, json: { created: false } })
    expect(await register(v3.release)).toMatchObject({ json: { code: 'artifact-not-found' } })
    expect(await stored()).toEqual([true, false])
    expect((await put(patches[1]!)).status).toBe(200)
    expect((await register(v3.release)).status).toBe(200)
    expect((await call('GET', at)).json.patches[0]).toEqual({
      ...listed[0],
      share: listed[0]!.bytes / v3.bundle.length,
      stored: true,
    })
    expect((await call('GET', at, undefined, null)).status).toBe(401)
    expect((await call('PUT', `${at}/${listed[0]!.sha256}`, patches[0]!, gatewayToken)).status).toBe(403)
    await call('POST', '/v1/models/kws-3/promote', { to: 'archived', reason: 'only here for its patches' })
  })

  it('patches of version 2, which stand beside the release, are listed, taken and asked for like the others', async () => {
    const v19 = testRelease('kws-19', 19)
    const [first, second] = ([1, 2] as const).map((version) => makePatch(v1.bundle, v19.bundle, { version }))
    const entry = (bytes: Uint8Array) => ({ base: v1.sha256, sha256: sha256Hex(bytes), bytes: bytes.length })
    const put = (bytes: Uint8Array) => call('PUT', `/v1/models/kws-19/19/patches/${sha256Hex(bytes)}`, bytes)
    await call('PUT', `/v1/artifacts/${v19.sha256}`, v19.bundle)
    const release = { ...v19.release, patches: [entry(first!)] }
    await operator.lifecycle.addRelease(release, undefined, [entry(second!)])
    expect((await released()).status).toBe(200)
    // Added again as it was signed, it is no other release.
    const signed = operator.lifecycle.release(release)
    expect(signed).toEqual({ release, later: [entry(second!)] })
    await operator.lifecycle.addRelease(release, undefined, signed!.later)
    const listed = async () => (await call('GET', '/v1/models/kws-19/19/patches')).json.patches
    expect(await listed()).toMatchObject([entry(second!), entry(first!)])
    expect((await put(first!)).status).toBe(200)
    expect(await register(v19.release)).toMatchObject({ json: { code: 'artifact-not-found' } })
    expect((await put(second!)).status).toBe(200)
    expect((await register(v19.release)).status).toBe(200)
    expect(await listed()).toMatchObject([{ stored: true }, { stored: true }])
    await call('POST', '/v1/models/kws-19/promote', { to: 'archived', reason: 'only here for its patches' })
  })

  it('patches that do not lead where they are listed for are refused', async () => {
    const v4 = testRelease('kws-4', 4)
    const wrongBase = makePatch(v1.bundle, v4.bundle)
    const wrongResult = makePatch(null, v2.bundle)
    const garbage = new Uint8Array(100).fill(7)
    const release: Release = {
      ...v4.release,
      patches: [wrongBase, wrongResult, garbage].map((data, i) => ({
        base: i === 0 ? v2.sha256 : i === 1 ? null : v1.sha256,
        sha256: sha256Hex(data),
        bytes: data.length,
      })),
    }
    await call('PUT', `/v1/artifacts/${v4.sha256}`, v4.bundle)
    expect((await released(release)).status).toBe(200)
    for (const [data, code] of [
      [wrongBase, 'wrong-base'],
      [wrongResult, 'contradicts-release'],
      [garbage, 'patch-malformed'],
    ] as const) {
      const refused = await call('PUT', `/v1/models/kws-4/4/patches/${sha256Hex(data)}`, data)
      expect(refused).toMatchObject({ status: 422, json: { code } })
    }
    expect((await register(v4.release)).json.code).toBe('artifact-not-found')
  })

  it('what judges the wakes of a release is signed with it, and is here and fits before it is registered', async () => {
    const verifiers = {
      fits: testRelease('verifier', 1),
      'another front end': testRelease('verifier', 2, { manifest: { features: { kind: 'mfcc', frames: 50 } } }),
      'no label': testRelease('verifier', 3, { manifest: { labels: ['oui', 'non'] } }),
    }
    const put = ({ sha256, bundle }: Pick<typeof v1, 'sha256' | 'bundle'>) =>
      call('PUT', `/v1/artifacts/${sha256}`, bundle)
    for (const [i, [what, verifier]] of Object.entries(verifiers).entries()) {
      const judged = testRelease(`kws-${5 + i}`, 5 + i)
      await put(judged)
      const named = { sha256: verifier.sha256, bytes: verifier.bundle.length }
      await operator.lifecycle.addRelease(judged.release, named)
      await expect(operator.lifecycle.addRelease(judged.release)).rejects.toThrow(/another verifier or none/)
      await released()
      expect(await register(judged.release)).toMatchObject({ status: 404, json: { code: 'artifact-not-found' } })
      await put(verifier)
      const registered = await register(judged.release)
      if (what === 'fits') {
        expect(registered).toMatchObject({ status: 200, json: { verifier: verifier.sha256 } })
      } else {
        expect(registered).toMatchObject({ status: 422, json: { code: 'contradicts-release' } })
        expect(registered.json.detail).toContain(
          `the verifier ${what === 'no label' ? 'knows no label' : 'has another'}`,
        )
      }
    }
    const short = testRelease('kws-8', 8)
    await put(short)
    await operator.lifecycle.addRelease(short.release, { sha256: verifiers.fits.sha256, bytes: 7 })
    await released()
    expect(await register(short.release)).toMatchObject({ status: 422, json: { code: 'size-mismatch' } })
    expect((await call('GET', '/v1/models')).json.models[0].verifier).toBeNull()
  })

  it('signals of a release are read by name: none of a bundle that declares none, and of none that is not there', async () => {
    const at = '/v1/models/kws-1/1/signals'
    expect(await call('GET', at)).toMatchObject({ status: 200, json: { signals: [] } })
    expect(await call('GET', `${at}?hours=0`)).toMatchObject({ status: 400, json: { code: 'invalid-request' } })
    expect(await call('GET', '/v1/models/kws-1/7/signals')).toMatchObject({ status: 404, json: { code: 'not-found' } })
    expect((await call('GET', at, undefined, gatewayToken)).status).toBe(403)
  })

  const names = Array.from({ length: 40 }, (_, i) => `d-${String(i).padStart(2, '0')}`)
  it('enrolment: tokens that the JWKS verifies, and a signed assignment that devices accept', async () => {
    const rows = names.map((device) => ({ device, site: 'site-1', board: 'board-a' }))
    const { json } = await call('POST', '/v1/devices', rows)
    const keys = (await call('GET', '/v1/keys', undefined, null)).json
    const { payload } = await jwtVerify(json.devices[0].token, createLocalJWKSet(keys.jwks), {
      ...{ audience: 'kinglet-gateway', currentDate: new Date(clock.wallMs()) },
    })
    expect(payload).toMatchObject({ sub: 'd-00', site: 'site-1', board: 'board-a' })
    expect(await call('GET', '/v1/devices', undefined, json.devices[0].token)).toMatchObject({ status: 401 })
    clock.advanceTo(clock.wallMs() + 1)
    const feed = assignmentFeedSchema.parse(
      (await call('GET', '/v1/assignments?after=0', undefined, gatewayToken)).json,
    )
    expect(feed.items).toHaveLength(40)
    const context = { device: 'd-00', site: 'site-1', board: 'board-a', lastSeq: 0 }
    const verified = verifyAssignment(feed.items.find(({ device }) => device === 'd-00')!.document as never, {
      ...context,
      ...{ director: directorOf(readFileSync(join(dataDir, 'repo/metadata/1.root.json'))), nowMs: clock.wallMs() },
    })
    expect(verified).toMatchObject({ ok: true, value: { target: { name: 'kws-1', version: 1, sha256: v1.sha256 } } })
    expect(verified.ok && Object.keys(verified.value)).not.toContain('release')
    expect(keys.director).toEqual(cloud.directorKey)
    expect(keys).not.toHaveProperty('release')
    expect((await call('POST', '/v1/devices', [{ device: 'BAD ID', site: 's', board: 'b' }])).json.code).toBe(
      'invalid-request',
    )
    const again = await call('GET', `/v1/assignments?after=${feed.cursor}`, undefined, gatewayToken)
    expect(again.json.items).toEqual([])
    // A cursor of a lost store: everything again.
    expect(
      (await call('GET', `/v1/assignments?after=${feed.cursor + 1000}`, undefined, gatewayToken)).json.items,
    ).toHaveLength(40)
  })

  it('telemetry in, exact counters, summary and series out; refused batches change nothing', async () => {
    const random = seededRandom(4)
    const devices = names.map((name) => new SyntheticDevice(name, v1.sha256.slice(0, 16), T0, random.fork(name)))
    clock.advanceTo(T0 + 30 * HOUR)
    let wakes = 0
    let rejected = 0
    for (const device of devices) {
      const batch = batchOf(device.live(T0 + 30 * HOUR, { falseWakes: 0.5, verified: 1 }))
      expect((await call('POST', '/v1/ingest', batch, gatewayToken)).status).toBe(200)
      expect((await call('POST', '/v1/ingest', batch, gatewayToken)).json.reports).toBe(0)
      wakes += device.counters[4]!
      for (const row of device.hours.values()) rejected += row.rejected
    }
    expect((await call('GET', '/v1/fleet/counters')).json).toMatchObject({
      ...{ devices: 40, boots: 40, counters: { wakes }, verdicts: { rejected } },
    })
    await cloud.evaluate()
    const { json: summary } = await call('GET', '/v1/fleet/summary?hours=24')
    expect(summary.devices).toEqual({ known: 40, enrolled: 40, unkeyed: 40, reporting: 40 })
    expect(summary.fleet.falseWakesPerHour).toBeGreaterThan(0.2)
    expect(summary.models[0].name).toBe('kws-1')
    expect((await call('GET', '/v1/fleet/series?hours=72')).json.points.length).toBeGreaterThan(28)
    const bad = { ...batchOf({}), v: 2 }
    expect(await call('POST', '/v1/ingest', bad, gatewayToken)).toMatchObject({
      status: 400,
      json: { code: 'unknown-schema-version' },
    })
    // What waited for more than a week: taken, counted, and no evidence. And each answer tells a gateway the time.
    const second = { ...devices[0]!.report(), uptimeMs: 1, boot: 2 }
    const first = { ...second, seq: second.seq - 1, receivedMs: second.receivedMs - 8 * 24 * HOUR }
    expect((await call('POST', '/v1/ingest', batchOf({ reports: [first] }), gatewayToken)).json.late).toBe(0)
    const answer = await call('POST', '/v1/ingest', batchOf({ reports: [second] }), gatewayToken)
    expect(answer.json).toMatchObject({ reports: 1, late: 1 })
    expect(Number(answer.headers.get('kinglet-time'))).toBeGreaterThan(T0)
    expect((await call('GET', '/metrics')).text).toMatch(/^kinglet_ingest_late_rows_total 1$/m)
    const wrong = { ...batchOf({}), verdicts: [{ site: 's' }] }
    expect((await call('POST', '/v1/ingest', wrong, gatewayToken)).json.code).toBe('malformed')
    expect((await call('GET', '/v1/fleet/summary?hours=0')).json.code).toBe('invalid-request')
    expect((await call('GET', '/v1/devices/d-00')).json.boots[0].counters.listeningMs).toBe(devices[0]!.counters[0])
  })

  it('a rollout: started, announced on the stream, paused, resumed, rolled back, audited; the long poll wakes', async () => {
    const headers = { authorization: `Bearer ${cloud.operatorToken}` }
    const abort = new AbortController()
    const stream = await fetch(`${cloud.url}/v1/stream`, { headers, signal: abort.signal })
    const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
    let seen = ''
    const until = async (text: string) => {
      while (!seen.includes(text)) seen += (await reader.read()).value ?? ''
    }
    await until('event: hello')
    const cursor = (await call('GET', '/v1/assignments?after=0', undefined, gatewayToken)).json.cursor
    const poll = call('GET', `/v1/assignments?after=${cursor}&waitSeconds=25`, undefined, gatewayToken)

    const of = (signals: unknown) => call('POST', '/v1/rollouts', { name: 'kws-2', gate: { signals } })
    expect((await of({ 'bearing/alarms': { alphaRollback: 0.01 } })).json.detail).toMatch(/no signal "bearing\/alarms"/)
    expect((await of({ energyPerHour: { marginRatio: 0.5 } })).json.detail).toMatch(/^gate\.metrics\.3\.marginRatio/)
    expect((await of([1])).json.detail).toMatch(/^gate\.signals: an object of fields by name/)
    const signals = { energyPerHour: { marginRatio: 1.5 } }
    const keep = (gate: object, token?: string) =>
      call('POST', '/v1/gate-policies', { name: 'loose', gate, reason: 'a noisy site' }, token)
    expect((await keep({ minHours: 1 }, gatewayToken)).status).toBe(403)
    expect((await keep({ signals: { energyPerHour: { marginRatio: 0.5 } } })).json.detail).toMatch(/^gate\.metrics\.3/)
    expect((await keep({ minHours: 9 })).json).toMatchObject({ version: 1, created: true, policy: { minHours: 9 } })
    expect((await keep({ minHours: 2, signals })).json).toMatchObject({ version: 2, created: true })
    expect((await keep({ minHours: 2, signals })).json).toMatchObject({ version: 2, created: false })
    const { policies } = (await call('GET', '/v1/gate-policies')).json
    expect(policies.map(({ name, version }: { name: string; version: number }) => `${name}@${version}`)).toEqual([
      ...['loose@2', 'loose@1'],
    ])
    expect((await call('GET', '/v1/gate-policies/loose@1')).json.policy).toEqual({
      ...DEFAULT_GATE_POLICY,
      minHours: 9,
    })
    expect((await call('GET', '/v1/gate-policies/loose')).json.version).toBe(2)
    expect((await call('GET', '/v1/gate-policies/loose@3')).json).toMatchObject({
      code: 'not-found',
      detail: 'no gate policy "loose@3": GET /v1/gate-policies lists them',
    })
    const wish = { name: 'kws-2', percents: [50, 100] }
    expect((await call('POST', '/v1/rollouts', { ...wish, policy: 'strict' })).status).toBe(404)
    const started = await call('POST', '/v1/rollouts', {
      ...wish,
      policy: 'loose',
      gate: { minHours: 1, manual: [50] },
    })
    expect(started.json).toMatchObject({ policyName: 'loose@2', manualStages: [50] })
    expect(started).toMatchObject({
      status: 200,
      json: { state: 'running', model: 'kws-2', policy: { minHours: 1, maxHours: 168 } },
    })
    const { id, policy } = started.json
    const energy = policy.metrics.filter(({ name }: { name: string }) => name === 'energyPerHour')
    expect(energy).toEqual([{ ...DEFAULT_GATE_POLICY.metrics[3], marginRatio: 1.5 }])
    expect(policy.metrics).toHaveLength(DEFAULT_GATE_POLICY.metrics.length)
    expect((await call('POST', '/v1/rollouts', { name: 'kws-2' })).json.code).toBe('conflict')
    clock.advanceTo(clock.wallMs() + 10)
    const changed = (await poll).json.items
    expect(changed).toHaveLength(40)
    const arms = changed.map(
      (item: { document: { signed: { rollout: { arm: string } } } }) => item.document.signed.rollout.arm,
    )
    expect(new Set(arms)).toEqual(new Set(['canary', 'control']))
    await until('event: rollout')
    clock.advanceTo(clock.wallMs() + HOUR)
    const { json } = await call('GET', `/v1/rollouts/${id}`)
    expect(json.gate.verdict).toBe('hold')
    expect(json.gateWords).toContain('Hold')
    expect(json.reachedPercent).toBe(50)
    expect((await call('POST', `/v1/rollouts/${id}/resume`, { reason: 'x' })).json.code).toBe('conflict')
    expect((await call('POST', `/v1/rollouts/${id}/pause`, { reason: 'lunch' })).json.state).toBe('paused')
    expect((await call('POST', `/v1/rollouts/${id}/resume`, { reason: 'back' })).json.state).toBe('running')
    const back = (await call('POST', `/v1/rollouts/${id}/rollback`, { reason: 'second thoughts' })).json
    expect(back).toMatchObject({ state: 'rolled-back', why: 'Rolled back by operator: second thoughts' })
    expect(back.hoursToDecision).toBeGreaterThan(0.9)
    expect((await call('GET', '/v1/models')).json.models[1].state).toBe('archived')
    const { entries } = (await call('GET', '/v1/audit')).json
    expect(entries.map(({ action }: { action: string }) => action)).toEqual(
      expect.arrayContaining([
        'rollout.started',
        'rollout.stage-begun',
        'rollout.paused',
        'rollout.resumed',
        'rollout.rolled-back',
      ]),
    )
    const ids = [...seen.matchAll(/^id: (\d+)$/gm)].map((match) => Number(match[1]))
    abort.abort()
    const resumed = await fetch(`${cloud.url}/v1/stream`, { headers: { ...headers, 'last-event-id': String(ids[0]) } })
    const again = resumed.body!.pipeThrough(new TextDecoderStream()).getReader()
    expect((await again.read()).value).toContain(`id: ${ids[0]! + 1}`)
    await again.cancel()
  })

  it('metrics, OpenAPI, the page, unknown paths', async () => {
    const { text } = await call('GET', '/metrics')
    expect(text).toContain('kinglet_devices_enrolled 40')
    expect(text).toContain('kinglet_ingest_rows_total{kind="reports"}')
    const { json } = await call('GET', '/openapi.json', undefined, null)
    expect(Object.keys(json.paths)).toEqual(
      expect.arrayContaining(['/v1/rollouts/{id}', '/v1/ingest', '/v1/fleet/counters']),
    )
    const page = await call('GET', '/', undefined, null)
    expect(page.headers.get('content-type')).toContain('text/html')
    expect((await call('GET', '/nowhere')).json.code).toBe('not-found')
    expect((await call('POST', '/v1/rollouts', new TextEncoder().encode('{'))).status).toBe(415)
  })

  it('the director is rotated over HTTP: every assignment of the feed is signed by the new key at once', async () => {
    const signers = async (): Promise<Set<string>> => {
      const { items } = (await call('GET', '/v1/assignments?after=0', undefined, gatewayToken)).json
      expect(items).toHaveLength(40)
      return new Set(
        items.map((item: { document: { signatures: { keyId: string }[] } }) => item.document.signatures[0]!.keyId),
      )
    }
    const former = cloud.directorKey
    clock.advanceTo(clock.wallMs() + 1)
    expect(await signers()).toEqual(new Set([former.keyId]))
    expect((await call('POST', '/v1/metadata/director-key', {}, gatewayToken)).status).toBe(403)
    const made = (await call('POST', '/v1/metadata/director-key', {})).json
    expect(made.director).toEqual(former)
    expect((await call('POST', '/v1/metadata/director-key', {})).json.nextDirector).toEqual(made.nextDirector)
    writeFileSync(join(dataDir, 'next.json'), JSON.stringify(made.nextDirector))
    await operator.lifecycle.director(join(dataDir, 'next.json'))
    expect((await released()).json).toMatchObject({ director: made.nextDirector, nextDirector: null })
    clock.advanceTo(clock.wallMs() + 1)
    expect(await signers()).toEqual(new Set([made.nextDirector.keyId]))
    expect(cloud.directorKey).toEqual(made.nextDirector)
    const { entries } = (await call('GET', '/v1/audit')).json
    expect(entries.map(({ action }: { action: string }) => action)).toContain('director-key.made')
    await cloud.close()
    cloud = await boot()
    expect(cloud.directorKey).toEqual(made.nextDirector)
  })
})
