import type { ServerResponse } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { decodeBundle, encodeBundle } from '../../../contract/bundle.ts'
import { sha256Hex } from '../../../contract/bytes.ts'
import type { Release } from '../../../contract/release.ts'
import { DIRECTOR_FIELD } from '../../../contract/repository-target.ts'
import { strangerKey } from '../../fixtures/keys.ts'
import type { TufRepository } from '../../fixtures/tuf-repository.ts'
import { AttackBench, offer } from './attack-bench.ts'

/** Attacks by whoever stands behind an honest gateway: a mirror, a cloud, the holder of a stolen key. The device and the gateway are
 *  the shipping ones, on sockets. */

let bench: AttackBench
const start = async (): Promise<TufRepository> => {
  bench = await AttackBench.start()
  return bench.repository
}
afterEach(async () => bench.close())

/** @param mend ends the attack; what follows must be the honest update */
const expectRefused = async (told: string, mend?: () => void | Promise<void>): Promise<void> => {
  await bench.untilTold(told)
  bench.expectUntouched()
  if (mend === undefined) return
  await mend()
  await bench.expectHonestUpdate()
}
const artifactsFetched = () => new Set(bench.cloud.requests.filter((request) => request.includes('/artifacts/')))
const releaseOf = (bundle: Uint8Array, change: Partial<Release> = {}): Release => ({
  ...bench.second.release,
  sha256: sha256Hex(bundle),
  bytes: bundle.length,
  ...change,
})
/** Has the repository and the director vouch for a bundle, and the cloud serve it. */
const publish = async (bundle: Uint8Array, release: Release, seq = 1) => {
  const { repository, cloud } = bench
  offer(repository, bundle, release)
  repository.publish('targets', 'snapshot', 'timestamp')
  cloud.artifacts.set(release.sha256, bundle)
  await bench.assign({ release, seq })
}
/** Puts things right after `publish`, under another number. */
const publishHonest = async () => {
  await publish(bench.second.bundle, bench.second.release, 2)
}
const withSections = (bundle: Uint8Array, more: readonly { name: string; data: Uint8Array }[]) => {
  const decoded = decodeBundle(bundle)
  if (!decoded.ok) throw new Error(decoded.error.detail)
  return encodeBundle([...[...decoded.value].map(([name, data]) => ({ name, data })), ...more])
}

describe('an attack on assignment or image is refused with its code, touches nothing, and the honest update follows', () => {
  it('arbitrary installation: an assignment by a director that root does not name', async () => {
    await start()
    await bench.assign({ directorSecret: strangerKey.secretKey })
    await expectRefused('install-refused: unknown-key', () => bench.assign({ seq: 2 }))
    expect(artifactsFetched().size).toBe(1)
  })

  it('endless data: an artifact that does not end', async () => {
    const repository = await start()
    const { mirror } = bench
    let sent = 0
    bench.mirror = (path) => {
      if (!path.startsWith('/v1/artifacts/')) return mirror(path)
      return (response: ServerResponse) => {
        const more = (): void => {
          while (!response.destroyed && response.write(Buffer.alloc(65_536))) sent += 65_536
        }
        response.writeHead(200).on('drain', more)
        more()
      }
    }
    await bench.assign()
    await expectRefused('install-delayed: too-large', () => {
      bench.mirror = mirror
    })
    expect(repository.requests).not.toHaveLength(0)
    // What lies in sockets between two processes, not what an attacker likes to send.
    expect(sent).toBeLessThan(64 * 1024 * 1024)
  })

  it('extraneous dependencies: a bundle with a section that its manifest does not name', async () => {
    await start()
    const bundle = withSections(bench.second.bundle, [{ name: 'graph/extra', data: Uint8Array.of(1, 2, 3) }])
    await publish(bundle, releaseOf(bundle))
    await expectRefused('install-failed: bundle-bad-manifest', publishHonest)
  })

  it('rollback: an image below the security counter', async () => {
    await start()
    await publish(bench.second.bundle, releaseOf(bench.second.bundle, { securityCounter: 0 }))
    await expectRefused('install-refused: security-counter-too-low', publishHonest)
  })

  it.each<[string, Partial<Release>]>([
    ['wrong-board', { boards: ['another-board'] }],
    ['unsupported-features', { featuresSha256: 'ab'.repeat(32) }],
    ['arena-over-budget', { arenaBytes: 1_000_000_000 }],
    ['flash-over-budget', { bytes: 1_000_000 }],
  ])('wrong software for the device: %s', async (code, change) => {
    await start()
    const bundle = Buffer.concat([bench.second.bundle, Buffer.alloc(change.bytes ?? 0)])
    await publish(bundle, { ...releaseOf(bundle, change), bytes: bundle.length })
    await expectRefused(`install-refused: ${code}`, publishHonest)
    expect(artifactsFetched().size).toBe(1)
  })

  it('wrong hardware id', async () => {
    await start()
    await bench.assign({ content: { board: 'another-board' } })
    await expectRefused('install-refused: wrong-board', () => bench.assign({ seq: 2 }))
  })

  it('assignment that contradicts the image repository', async () => {
    await start()
    await bench.assign({ release: { ...bench.second.release, sha256: 'cd'.repeat(32) } })
    await expectRefused('install-refused: contradicts-repository', () => bench.assign({ seq: 2 }))
  })

  it('assignment of what the image repository does not have', async () => {
    await start()
    await bench.assign({ release: { ...bench.second.release, version: 7 } })
    await expectRefused('install-delayed: target-unknown', () => bench.assign({ seq: 2 }))
  })

  it('partial bundle: half of it from the cloud', async () => {
    await start()
    const { bundle, release } = bench.second
    bench.cloud.artifacts.set(release.sha256, bundle.subarray(0, bundle.length / 2))
    await bench.assign()
    await expectRefused('install-delayed: hash-mismatch', () => {
      bench.cloud.artifacts.set(release.sha256, bundle)
    })
  })

  it('revoked director key', async () => {
    const repository = await start()
    repository.extra.root = { ...repository.extra.root, [DIRECTOR_FIELD]: strangerKey.role }
    repository.publish('root')
    await bench.assign()
    await expectRefused('install-refused: unknown-key', () =>
      bench.assign({ seq: 2, directorSecret: strangerKey.secretKey }),
    )
  })

  it('trailing data: after a bundle', async () => {
    await start()
    const bundle = new Uint8Array([...bench.second.bundle, 0])
    await publish(bundle, releaseOf(bundle))
    await expectRefused('install-failed: bundle-bad-section', publishHonest)
  })

  it('time-of-check/time-of-use: the slot changes after the check and before the trial', async () => {
    await start()
    const { flash, layout } = bench
    let spoiled = false
    bench.onEffect = (effect) => {
      if (spoiled || effect.type !== 'reboot') return
      spoiled = true
      const page = layout.slots[1] + 8 * flash.sectorBytes
      flash.erase(page)
    }
    await bench.assign()
    await expectRefused('reverted: hash-mismatch', () => undefined)
  })

  it('time-of-check/time-of-use: the flash shows another image to whoever loads than to whoever hashes', async () => {
    await start()
    const { flash, layout, first } = bench
    const read = flash.read.bind(flash)
    let reads = 0
    flash.read = (offset, length) => {
      const isImage = offset === layout.slots[1] && length === bench.second.bundle.length
      // The first read is that of the check, the second that of the boot's hash.
      if (!isImage || ++reads !== 3) return read(offset, length)
      const other = new Uint8Array(length)
      other.set(first.bundle.subarray(0, length))
      return other.slice(0, first.bundle.length)
    }
    await bench.assign()
    await bench.untilTold('booted: hash-mismatch')
    expect(bench.told.slice(0, bench.told.indexOf('booted: hash-mismatch'))).not.toContain('trial-started')
    await bench.expectHonestUpdate()
  })
})
