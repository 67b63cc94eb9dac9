import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { OutputFile } from '../../../cli/output-file.ts'
import { ArtifactFolder } from '../../../cloud/registry/artifact-folder.ts'
import { loadOrCreateSeed } from '../../../cloud/trust/seed-file.ts'
import { TUF_LIMITS } from '../../../contract/limits.ts'
import { seededRandom } from '../../../contract/random.ts'
import { ok } from '../../../contract/result.ts'
import { TrustFolder } from '../../../device/node/trust-folder.ts'
import type { CloudClient } from '../../../gateway/cloud-link/cloud-client.ts'
import { ServiceToken } from '../../../gateway/cloud-link/service-token.ts'
import { ArtifactCache } from '../../../gateway/downloads/artifact-cache.ts'
import { MessageCounters } from '../../../gateway/message-counters.ts'
import { losingMedium } from '../../fixtures/medium.ts'
import { notedLog } from '../../fixtures/timers.ts'

const content = Buffer.from('what must not be lost')
const sha256 = createHash('sha256').update(content).digest('hex')
const random = { bytes: (length: number) => new Uint8Array(randomBytes(length)) }
const clock = { wallMs: () => 1_000_000, monotonicMs: () => 0, after: () => () => undefined }
const jwt = (claims: object): string =>
  `${[{ alg: 'none' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.x`

let root = ''
let live = ''
let medium: ReturnType<typeof losingMedium>
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'kinglet-power-cut-'))
  live = join(root, 'live')
  mkdirSync(live)
  writeFileSync(join(live, 'token'), jwt({ iat: 1, exp: 1_001 }), { mode: 0o644 })
  medium = losingMedium(live)
})
afterEach(() => {
  medium.stop()
  rmSync(root, { recursive: true, force: true })
})
/** What lies under a name after a power cut now; undefined for nothing. */
function left(name: string): string | undefined {
  const to = mkdtempSync(join(root, 'cut-'))
  medium.cut(to)
  return existsSync(join(to, name)) ? readFileSync(join(to, name), 'utf8') : undefined
}

it('a medium that loses has lost what was written and not synced, and a name without its folder', () => {
  writeFileSync(join(live, 'a'), content)
  expect(left('a')).toBeUndefined()
  expect(left('token')).toBe(readFileSync(join(live, 'token'), 'utf8'))
})

describe('a power cut right after it was said to be done leaves', () => {
  it("an artifact of the gateway's cache", async () => {
    const stream = async () =>
      ok(
        (async function* () {
          yield content
        })(),
      )
    const cloud = { stream } as Partial<CloudClient> as CloudClient
    const limits = { totalBytes: 1_000, memoryBytes: 1, fetches: 1 }
    const cache = new ArtifactCache(join(live, 'cache'), { cloud, clock, counters: new MessageCounters() }, limits)
    expect(await cache.get(sha256, 'd1')).toMatchObject({ ok: true })
    expect(left(`cache/${sha256}`)).toBe(content.toString())
  })

  it('an artifact of the cloud', async () => {
    const folder = new ArtifactFolder(join(live, 'artifacts'), random)
    expect(await folder.put(sha256, content)).toEqual(ok({ created: true }))
    expect(left(`artifacts/${sha256.slice(0, 2)}/${sha256}`)).toBe(content.toString())
  })

  it('the seed of a key', () => {
    const seed = loadOrCreateSeed(join(live, 'director.seed'), random)
    expect(left('director.seed')).toBe(`${Buffer.from(seed).toString('hex')}\n`)
  })

  it('an output of a command, and before that nothing under its name', () => {
    const out = new OutputFile(join(live, 'out'), false)
    out.append(content)
    expect(left('out')).toBeUndefined()
    out.commit()
    expect(left('out')).toBe(content.toString())
  })

  it('an output in the place of another: the old one until then', () => {
    OutputFile.write(join(live, 'out'), Buffer.from('old'), false)
    const out = new OutputFile(join(live, 'out'), true)
    out.append(content)
    expect(left('out')).toBe('old')
    out.commit()
    expect(left('out')).toBe(content.toString())
  })

  it("a device's trusted metadata", async () => {
    const folder = new TrustFolder(join(live, 'trust'), TUF_LIMITS)
    await folder.provision(Buffer.from('root'))
    expect(left('trust/root.json')).toBe('root')
    await folder.keep({ root: Buffer.from('root 2'), timestamp: content })
    expect([left('trust/root.json'), left('trust/timestamp.json')]).toEqual(['root 2', content.toString()])
  })

  /** Renewed at once, from the file "token". */
  function renewing(renewed: string): ServiceToken {
    const token = new ServiceToken(undefined, join(live, 'token'))
    const answer = ok({ token: renewed, expiresMs: 10_000_000 })
    token.start({
      ...{ cloud: { exchange: async () => answer }, clock: { ...clock, wallMs: () => 900_000 } },
      ...{ random: seededRandom(1), logger: notedLog(), counters: new MessageCounters() },
    })
    onTestFinished(() => token.close())
    return token
  }
  const renewed = jwt({ iat: 900, exp: 10_000 })

  it('a service token that was renewed: the cloud may refuse the one before', async () => {
    const token = renewing(renewed)
    await token.look()
    expect(token.current).toBe(renewed)
    expect(left('token')).toBe(`${renewed}\n`)
    // The one before was open to all.
    expect(statSync(join(live, 'token')).mode & 0o777).toBe(0o600)
  })

  it('a renewed service token that could not be written at first, once that works again', async () => {
    const before = left('token')
    // What lies in the way is not replaced.
    mkdirSync(join(live, 'token.new'))
    const token = renewing(renewed)
    await token.look()
    expect([token.current, left('token')]).toEqual([renewed, before])
    rmdirSync(join(live, 'token.new'))
    await token.look()
    expect([token.current, left('token')]).toEqual([renewed, `${renewed}\n`])
  })
})
