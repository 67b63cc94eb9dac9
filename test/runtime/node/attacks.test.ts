import type { ServerResponse } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { decodeBundle, encodeBundle } from '../../../contract/bundle.ts'
import { sha256Hex } from '../../../contract/bytes.ts'
import type { Release } from '../../../contract/release.ts'
import { DIRECTOR_FIELD } from '../../../contract/repository-target.ts'
import { strangerKey } from '../../fixtures/keys.ts'
import type { TufRepository } from '../../fixtures/tuf-repository.ts'
import { AttackBench, DAY, offer, repositoryOf } from './attack-bench.ts'
import { until } from './gateway-harness.ts'

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
/** A poll that ends without a word was a good one. */
const pollQuietly = async () => {
  const before = bench.received.length
  bench.pass(DAY)
  await until('polled', () => bench.received.length > before && bench.host.state?.consultation === null)
  bench.skipGateway()
}
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

describe('refused with its code, nothing touched, and the honest update afterwards', () => {
  it('arbitrary installation: metadata that nobody trusted has signed', async () => {
    const repository = await start()
    const { timestamp } = repository.signing
    repository.signing.timestamp = [repository.newSigner()]
    repository.publish('timestamp')
    await bench.assign()
    await expectRefused('install-delayed: metadata-signature', () => {
      repository.signing.timestamp = timestamp!
      repository.publish('timestamp')
    })
  })

  it('arbitrary installation: an assignment by a director that root does not name', async () => {
    await start()
    await bench.assign({ directorSecret: strangerKey.secretKey })
    await expectRefused('install-refused: unknown-key', () => bench.assign({ seq: 2 }))
    expect(artifactsFetched().size).toBe(1)
  })

  it.each([
    ['past what a device holds', 3 * 1024],
    ['past what a gateway holds', 100 * 1024],
  ])('endless data: metadata %s', async (_what, bytes) => {
    const repository = await start()
    repository.faults.set('metadata/timestamp.json', Buffer.alloc(bytes, ' '))
    await bench.assign()
    await expectRefused('install-delayed: metadata-too-large', () => repository.faults.clear())
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

  it('extraneous dependencies: targets that bring others along are not followed', async () => {
    const repository = await start()
    const other = new TextEncoder().encode('not asked for')
    repository.addTarget('targets', 'other/1.kinglet', other, { requires: ['kws-2/2.kinglet'] })
    repository.targetFiles.targets!['kws-2/2.kinglet']!.custom = {
      kinglet: bench.second.release,
      requires: ['other/1.kinglet'],
    }
    repository.delegate('targets', 'extras', { paths: ['*/*'] })
    repository.publish('extras', 'targets', 'snapshot', 'timestamp')
    await bench.assign()
    await bench.expectHonestUpdate()
    expect([...artifactsFetched()]).toEqual([`GET /v1/artifacts/${bench.second.release.sha256}`])
    expect(repository.askedRoles).not.toContain('extras 1')
  })

  it('extraneous dependencies: a bundle with a section that its manifest does not name', async () => {
    await start()
    const bundle = withSections(bench.second.bundle, [{ name: 'graph/extra', data: Uint8Array.of(1, 2, 3) }])
    await publish(bundle, releaseOf(bundle))
    await expectRefused('install-failed: bundle-bad-manifest', publishHonest)
  })

  it('fast-forward: versions far ahead, by stolen online keys, until root replaces the keys', async () => {
    const repository = await start()
    const far = 1_000_000
    repository.next.snapshot = far
    repository.next.timestamp = far
    repository.publish('snapshot', 'timestamp')
    repository.faults.set(`metadata/${far}.snapshot.json`, repository.published.snapshot!.at(-1)!)
    await pollQuietly()
    // The thief has gone; the honest versions look old now.
    repository.faults.clear()
    repository.next.snapshot = 3
    repository.next.timestamp = 3
    repository.publish('snapshot', 'timestamp')
    await bench.assign()
    await expectRefused('install-delayed: metadata-rollback', () => {
      for (const role of ['timestamp', 'snapshot']) repository.rotateKeys(role)
      repository.publish('root', 'snapshot', 'timestamp')
    })
  })

  it('malicious mirror: a repository of its own from root to targets', async () => {
    const repository = await start()
    const theirs = repositoryOf([bench.second])
    const roles = ['root', 'targets', 'snapshot', 'timestamp']
    for (const role of roles) {
      // Keys that nobody else has: those of the honest one come from the same seeds.
      for (let i = 0; i < 8; i++) theirs.newSigner()
      theirs.rotateKeys(role)
    }
    theirs.publish('targets', 'snapshot', 'timestamp', 'root')
    bench.repository = theirs
    await bench.assign()
    await expectRefused('install-delayed: metadata-signature', () => {
      bench.repository = repository
    })
  })

  it('malicious mirror: a file that it spoils once is not kept by the gateway for ever', async () => {
    const repository = await start()
    repository.faults.set('metadata/1.snapshot.json', new TextEncoder().encode('{"signatures":[],"signed":{}}'))
    await bench.assign()
    await expectRefused('install-delayed: metadata-hash-mismatch', () => repository.faults.clear())
  })

  it.each([
    ['with hashes', true, 'metadata-hash-mismatch'],
    ['with versions alone', false, 'metadata-version-mismatch'],
  ] as const)('mix and match: old targets under a new snapshot, %s', async (_what, metaHashes, code) => {
    const repository = await start()
    repository.metaHashes = metaHashes
    repository.publish('targets', 'snapshot', 'timestamp')
    repository.faults.set('metadata/2.targets.json', repository.published.targets![0]!)
    await bench.assign()
    await expectRefused(`install-delayed: ${code}`, () => repository.faults.clear())
  })

  it('mix and match: an old snapshot under a new timestamp', async () => {
    const repository = await start()
    repository.publish('snapshot', 'timestamp')
    repository.faults.set('metadata/2.snapshot.json', repository.published.snapshot![0]!)
    await bench.assign()
    await expectRefused('install-delayed: metadata-hash-mismatch', () => repository.faults.clear())
  })

  it('rollback: a timestamp older than one that was seen, told by the poll and by the install', async () => {
    const repository = await start()
    repository.publish('snapshot', 'timestamp')
    await pollQuietly()
    repository.faults.set('metadata/timestamp.json', repository.published.timestamp![0]!)
    bench.pass(DAY)
    await bench.untilTold('repository-refused: metadata-rollback')
    await bench.assign()
    await expectRefused('install-delayed: metadata-rollback', () => repository.faults.clear())
  })

  it('rollback: an image below the security counter', async () => {
    await start()
    await publish(bench.second.bundle, releaseOf(bench.second.bundle, { securityCounter: 0 }))
    await expectRefused('install-refused: security-counter-too-low', publishHonest)
  })

  it.each(['root', 'targets'])('key compromise below the threshold: one of two keys of %s', async (role) => {
    const repository = await start()
    const both = repository.signing[role]!
    repository.signing[role] = [both[0]!]
    if (role === 'root') repository.publish('root')
    else repository.publish('targets', 'snapshot', 'timestamp')
    await bench.assign()
    await expectRefused('install-delayed: metadata-threshold', () => {
      repository.signing[role] = both
      if (role === 'targets') return repository.publish('targets', 'snapshot', 'timestamp')
      repository.next.root = 2
      repository.published.root!.pop()
      repository.publish('root')
    })
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

  it('revoked targets key', async () => {
    const repository = await start()
    repository.rotateKeys('targets')
    repository.publish('root')
    await bench.assign()
    await expectRefused('install-delayed: metadata-signature', () =>
      repository.publish('targets', 'snapshot', 'timestamp'),
    )
  })

  it('trailing data: after a bundle', async () => {
    await start()
    const bundle = new Uint8Array([...bench.second.bundle, 0])
    await publish(bundle, releaseOf(bundle))
    await expectRefused('install-failed: bundle-bad-section', publishHonest)
  })

  it('trailing data: after metadata', async () => {
    const repository = await start()
    const good = repository.published.timestamp![0]!
    repository.faults.set('metadata/timestamp.json', Buffer.concat([good, Buffer.from('{}')]))
    await bench.assign()
    await expectRefused('install-delayed: metadata-malformed', () => repository.faults.clear())
  })

  it.each(['../../../etc/passwd', 'a/b', '.', 'role\u0000', 'x'.repeat(190), '%2e%2e%2f'])(
    'hostile role names: %j',
    async (role) => {
      const repository = await start()
      const target = repository.targetFiles.targets!['kws-2/2.kinglet']!
      delete repository.targetFiles.targets!['kws-2/2.kinglet']
      repository.delegate('targets', role, { paths: ['*/*'] })
      repository.targetFiles[role] = { 'kws-2/2.kinglet': target }
      repository.publish(role, 'targets', 'snapshot', 'timestamp')
      await bench.assign()
      await expectRefused('install-delayed: metadata-malformed', () => {
        delete repository.delegations.targets
        delete repository.snapshotMeta[`${role}.json`]
        repository.targetFiles.targets!['kws-2/2.kinglet'] = target
        for (const online of ['timestamp', 'snapshot']) repository.rotateKeys(online)
        repository.publish('root', 'targets', 'snapshot', 'timestamp')
      })
    },
  )

  it('hostile paths: targets that climb, beside the honest one', async () => {
    const repository = await start()
    for (const path of ['../../kws-2/2.kinglet', '/etc/passwd', 'kws-2//2.kinglet', 'kws-2/./2.kinglet']) {
      repository.addTarget('targets', path, new Uint8Array(8), { kinglet: bench.second.release })
    }
    repository.publish('targets', 'snapshot', 'timestamp')
    await bench.assign()
    await bench.expectHonestUpdate()
    expect([...artifactsFetched()]).toEqual([`GET /v1/artifacts/${bench.second.release.sha256}`])
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
