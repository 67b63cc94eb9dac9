import { afterEach, describe, expect, it } from 'vitest'
import type { TufRepository } from '../../fixtures/tuf-repository.ts'
import { AttackBench, DAY, repositoryOf } from './attack-bench.ts'
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
  await until('polled', () => bench.received.length > before && bench.host.state?.repository.consultation === null)
  bench.skipGateway()
}
describe('an attack on metadata is refused with its code, touches nothing, and the honest update follows', () => {
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

  it.each([
    ['past what a device holds', 3 * 1024],
    ['past what a gateway holds', 100 * 1024],
  ])('endless data: metadata %s', async (_what, bytes) => {
    const repository = await start()
    repository.faults.set('metadata/timestamp.json', Buffer.alloc(bytes, ' '))
    await bench.assign()
    await expectRefused('install-delayed: metadata-too-large', () => repository.faults.clear())
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

  it('revoked targets key', async () => {
    const repository = await start()
    repository.rotateKeys('targets')
    repository.publish('root')
    await bench.assign()
    await expectRefused('install-delayed: metadata-signature', () =>
      repository.publish('targets', 'snapshot', 'timestamp'),
    )
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
})
