import { describe, expect, it } from 'vitest'
import { TUF_LIMITS } from '../../../../contract/limits.ts'
import { PORTABLE_SCHEMES } from '../../../../contract/tuf/signature-scheme.ts'
import { beginUpdate } from '../../../../contract/tuf/update-cycle.ts'
import { NOW_MS, runAgainst, searchIn } from '../../../fixtures/tuf-client.ts'
import { TufRepository, tufDate } from '../../../fixtures/tuf-repository.ts'

const DAY_MS = 86_400_000
const ALL = ['targets', 'snapshot', 'timestamp'] as const
const utf8 = (text: string) => Buffer.from(text)
const repositoryOf = (options: ConstructorParameters<typeof TufRepository>[0] = {}) =>
  new TufRepository({ nowMs: NOW_MS, ...options })
const rootOf = (repository: TufRepository) => ({ root: repository.published.root![0]! })

/** A repository and what a client trusts after its first cycle. */
function refreshed(options: ConstructorParameters<typeof TufRepository>[0] = {}) {
  const repository = repositoryOf(options)
  const first = runAgainst(repository, rootOf(repository))
  expect(first.code).toBe('done')
  repository.requests.length = 0
  return { repository, first, trusted: first.trusted }
}

describe('an idle poll', () => {
  it('costs one signature check and one file of at most 600 bytes when the caller kept verified files', () => {
    const { repository, trusted } = refreshed({ metaHashes: true })
    repository.extra.timestamp = { 'x-kinglet-issued': NOW_MS }
    repository.publish('timestamp')
    const { trusted: kept } = runAgainst(repository, trusted)
    const poll = runAgainst(repository, kept)
    expect(poll.code).toBe('done')
    expect(poll.verifications).toBe(1)
    expect(poll.changed).toEqual([])
    expect(poll.bytes).toBeLessThanOrEqual(600)
    expect(repository.askedRoles.slice(-2)).toEqual(['root 2', 'timestamp'])
    expect(poll.time.issuedMs).toBe(NOW_MS)
  })

  it('checks every file again when nobody says that they are verified', () => {
    const { repository, trusted } = refreshed()
    expect(runAgainst(repository, { ...trusted, verified: false }).verifications).toBe(5)
  })

  it('needs no targets file on a small device, which fetches it when it searches, and is held to the snapshot then', () => {
    const { repository, trusted } = refreshed()
    repository.addTarget('targets', 'model', utf8('weights'), { kinglet: { v: 1 } })
    repository.publish(...ALL)
    const small = { ...trusted, targets: undefined }
    const cycle = runAgainst(repository, small, { targets: 'when-searched' })
    expect(cycle.trusted.targets).toBeUndefined()
    expect(searchIn(repository, cycle.cycle.findTarget('model'))).toMatchObject({
      kind: 'found',
      role: 'targets',
      target: { path: 'model', length: 7, custom: { kinglet: { v: 1 } } },
    })
    const poll = runAgainst(repository, { ...cycle.trusted, targets: undefined }, { targets: 'when-searched' })
    expect([poll.verifications, poll.changed]).toEqual([1, []])
    // Rollback of a file that the device does not even have.
    repository.restart('targets')
    repository.publish(...ALL)
    expect(runAgainst(repository, { ...poll.trusted, targets: undefined }, { targets: 'when-searched' }).code).toBe(
      'metadata-rollback',
    )
    repository.published.targets![1] = repository.published.targets![0]!
    expect(searchIn(repository, poll.cycle.findTarget('model'))).toMatchObject({
      error: { code: 'metadata-version-mismatch' },
    })
  })
})

describe('what a cycle keeps', () => {
  it('is dropped with the root that vouched for it: targets of a key that root has revoked do not outlive a cycle that fails', () => {
    const { repository, trusted } = refreshed()
    repository.rotateKeys('targets')
    repository.publish('root')
    repository.faults.set('metadata/timestamp.json', 500)
    const failed = runAgainst(repository, trusted)
    expect(failed.code).toBe('metadata-unavailable')
    expect(failed.changed).toEqual(['root', 'targets'])
    expect(failed.trusted.targets).toBeUndefined()
    // And the stolen key is of no use in the next cycle, though the files are called verified.
    repository.faults.clear()
    expect(runAgainst(repository, failed.trusted).code).toBe('metadata-signature')
  })

  it('loses timestamp and snapshot when a key that signed for one of them is gone, and not when one is added', () => {
    const { repository, trusted } = refreshed()
    const [old] = repository.holders.timestamp!
    repository.addKey('timestamp')
    repository.publish('root')
    const added = runAgainst(repository, trusted)
    expect(added.changed).toEqual(['root'])
    expect(added.time.witness).not.toBe(runAgainst(repository, trusted, {}).time.rootIssuedMs)
    // Still signed by enough keys, and dropped all the same: the one that is gone may have pushed the version.
    repository.holders.timestamp = repository.holders.timestamp!.filter((one) => one !== old)
    repository.restart('timestamp')
    repository.publish('root', 'timestamp')
    const removed = runAgainst(repository, added.trusted)
    expect(removed.code).toBe('done')
    expect(removed.changed).toEqual(['root', 'timestamp', 'snapshot'])
    expect(removed.time.witness).not.toBe(added.time.witness)
  })

  it('is asked for its signatures again when root raises the threshold', () => {
    const { repository, trusted } = refreshed()
    repository.addKey('snapshot')
    repository.thresholds.snapshot = 2
    repository.publish('root')
    const cycle = runAgainst(repository, trusted)
    expect(cycle.changed).toContain('snapshot')
    expect(cycle.code).toBe('metadata-threshold')
  })

  it('can be kept after every step, and a cycle can go on from any of them', () => {
    const repository = repositoryOf()
    repository.publish('root', ...ALL, 'root')
    let trusted: Parameters<typeof beginUpdate>[0] = rootOf(repository)
    for (let fetches = 0; ; fetches++) {
      const begun = beginUpdate(trusted, { nowMs: NOW_MS, schemes: PORTABLE_SCHEMES })
      const step = begun.ok ? begun.value.next() : undefined
      if (!begun.ok || step?.kind !== 'fetch') throw new Error('no cycle')
      // One new file, then the power goes; the files end up somewhere that anybody can write.
      let next: ReturnType<typeof begun.value.next> = step
      const had = begun.value.result.changed.length
      while (next.kind === 'fetch' && begun.value.result.changed.length === had) {
        const answer = repository.file(`metadata/${next.file}`)
        begun.value.received(typeof answer === 'number' ? 'not-found' : answer)
        next = begun.value.next()
      }
      trusted = { ...begun.value.result.trusted, verified: false }
      if (next.kind === 'done') {
        // root 2, root 3, timestamp, snapshot; the targets with this one
        expect(fetches).toBe(4)
        break
      }
      expect(next.kind).toBe('fetch')
    }
    expect(trusted.targets).toEqual(repository.published.targets!.at(-1))
  })

  it('says so when it is asked or told something out of turn', () => {
    const { repository, trusted } = refreshed()
    const begun = beginUpdate(trusted, { nowMs: NOW_MS, schemes: PORTABLE_SCHEMES })
    if (!begun.ok) throw new Error(begun.error.code)
    expect(() => begun.value.findTarget('x')).toThrow()
    const { cycle } = runAgainst(repository, trusted)
    expect(() => cycle.received('not-found')).toThrow()
    expect(() => cycle.findTarget('x').received('not-found')).toThrow()
  })
})

describe('each attack has its own answer', () => {
  /** Changes the repository after a first cycle, and says what the next one ends with. */
  const attack = (
    mount: (repository: TufRepository) => void,
    options: ConstructorParameters<typeof TufRepository>[0] = {},
  ) => {
    const { repository, trusted } = refreshed(options)
    mount(repository)
    const { code, trusted: kept } = runAgainst(repository, trusted)
    return { code, kept, trusted }
  }
  const last = (repository: TufRepository, role: string) => repository.published[role]!.length - 1
  const replace = (repository: TufRepository, role: string, bytes: Uint8Array) => {
    repository.published[role]![last(repository, role)] = bytes
  }

  it('arbitrary installation: a stranger signs the targets', () => {
    const { code } = attack((repository) => {
      repository.signing.targets = [repository.newSigner()]
      repository.publish(...ALL)
    })
    expect(code).toBe('metadata-signature')
  })

  it('arbitrary installation: a bit of what was signed is flipped', () => {
    const { code } = attack((repository) => {
      repository.publish(...ALL)
      const document = JSON.parse(Buffer.from(repository.published.targets!.at(-1)!).toString())
      document.signed.targets.evil = { length: 1, hashes: { sha256: '00'.repeat(32) } }
      replace(repository, 'targets', utf8(JSON.stringify(document)))
    })
    expect(code).toBe('metadata-signature')
  })

  it('key compromise below the threshold', () => {
    const { code } = attack((repository) => {
      repository.addKey('targets')
      repository.thresholds.targets = 2
      repository.publish('root')
      repository.signing.targets!.pop()
      repository.publish(...ALL)
    })
    expect(code).toBe('metadata-threshold')
  })

  it('one key under two ids is one signer', () => {
    const { code } = attack((repository) => {
      const [signer] = repository.holders.targets!
      repository.addKey('targets', { ...signer!, keyId: 'again' })
      repository.thresholds.targets = 2
      repository.publish('root', ...ALL)
    })
    expect(code).toBe('metadata-threshold')
  })

  it('endless data', () => {
    const { code } = attack((repository) => {
      repository.publish('timestamp')
      replace(repository, 'timestamp', Buffer.alloc(TUF_LIMITS.timestampBytes + 1, ' '))
    })
    expect(code).toBe('metadata-too-large')
    const named = attack((repository) => {
      repository.timestampMeta = { version: 2, length: TUF_LIMITS.snapshotBytes + 1 }
      repository.publish('timestamp')
    })
    expect(named.code).toBe('metadata-too-large')
  })

  it.each<[string, (repository: TufRepository) => void]>([
    ['timestamp', (repository) => repository.restart('timestamp')],
    ['snapshot', (repository) => repository.restart('snapshot')],
    ['targets', (repository) => repository.restart('targets')],
    ['a role that disappears', (repository) => repository.delegations.targets?.pop()],
  ])('rollback: %s', (_name, mount) => {
    const repository = repositoryOf()
    repository.delegate('targets', 'A')
    repository.publish('A', ...ALL, ...ALL)
    const { trusted, code } = runAgainst(repository, rootOf(repository))
    expect(code).toBe('done')
    mount(repository)
    if (repository.delegations.targets?.length === 0) delete repository.snapshotMeta['A.json']
    repository.publish(...ALL)
    const next = runAgainst(repository, trusted)
    expect(next.code).toBe('metadata-rollback')
    expect(next.trusted.snapshot).toEqual(trusted.snapshot)
  })

  it('freeze: the newest of everything, after it has expired', () => {
    for (const role of ['root', ...ALL]) {
      const repository = repositoryOf()
      repository.expires[role] = tufDate(NOW_MS + DAY_MS)
      repository.publish('root', ...ALL)
      const { trusted, code } = runAgainst(repository, rootOf(repository))
      expect(code).toBe('done')
      expect(runAgainst(repository, trusted, { nowMs: NOW_MS + DAY_MS - 1 }).code).toBe('done')
      expect(runAgainst(repository, trusted, { nowMs: NOW_MS + DAY_MS }).code, role).toBe('metadata-expired')
    }
  })

  it('mix and match: an older snapshot or targets under a newer name, by version and by hash', () => {
    for (const role of ['targets', 'snapshot']) {
      for (const metaHashes of [false, true]) {
        const { code } = attack(
          (repository) => {
            repository.publish(...ALL)
            replace(repository, role, repository.published[role]![0]!)
          },
          { metaHashes },
        )
        expect(code).toBe(metaHashes ? 'metadata-hash-mismatch' : 'metadata-version-mismatch')
      }
    }
  })

  it('a root that the old root keys did not sign, or the new ones', () => {
    for (const side of ['old', 'new']) {
      const { code, kept, trusted } = attack((repository) => {
        const old = repository.signing.root!
        repository.rotateKeys('root')
        if (side === 'new') repository.signing.root = old
        repository.publish('root')
      })
      expect(code, side).toBe('metadata-signature')
      expect(kept.root).toEqual(trusted.root)
    }
  })

  it('a root that skips a version, or comes again', () => {
    const skipped = attack((repository) => {
      repository.next.root = 3
      repository.publish('root')
    })
    expect(skipped.code).toBe('root-not-consecutive')
    const again = attack((repository) => {
      repository.published.root!.push(repository.published.root![0]!)
    })
    expect(again.code).toBe('root-not-consecutive')
  })

  it('drop request: a file that is named and cannot be had', () => {
    const missing = attack((repository) => {
      repository.publish(...ALL)
      repository.published.targets!.pop()
    })
    expect(missing.code).toBe('metadata-missing')
    const silent = attack((repository) => repository.faults.set('metadata/2.root.json', 503))
    expect(silent.code).toBe('metadata-unavailable')
  })

  it('a chain of roots without an end: as many as the limit, and the rest in later cycles', () => {
    const repository = repositoryOf()
    for (let i = 0; i < TUF_LIMITS.rootRotations + 5; i++) repository.publish('root')
    const first = runAgainst(repository, rootOf(repository))
    expect(first.code).toBe('done')
    expect(repository.askedRoles).toContain(`root ${TUF_LIMITS.rootRotations + 1}`)
    expect(repository.askedRoles).not.toContain(`root ${TUF_LIMITS.rootRotations + 2}`)
    runAgainst(repository, first.trusted)
    expect(repository.askedRoles).toContain(`root ${TUF_LIMITS.rootRotations + 6}`)
  })

  it('delegations without an end, and a role that delegates to a top-level name', () => {
    const repository = repositoryOf()
    const deep = Array.from({ length: TUF_LIMITS.rolesVisited + 1 }, (_, i) => `r${i}`)
    deep.forEach((role, i) => {
      repository.delegate(i === 0 ? 'targets' : deep[i - 1]!, role)
    })
    repository.publish(...deep, ...ALL)
    const { cycle } = runAgainst(repository, rootOf(repository))
    expect(searchIn(repository, cycle.findTarget('x'))).toMatchObject({ error: { code: 'delegation-too-deep' } })
    expect(repository.askedRoles.filter((role) => role.startsWith('r') && !role.startsWith('root'))).toHaveLength(31)
    const signed = repository.signedPart('targets') as { delegations: { roles: { name: string }[] } }
    signed.delegations.roles[0]!.name = 'snapshot'
    repository.forge('targets', () => signed)
    repository.publish('snapshot', 'timestamp')
    expect(runAgainst(repository, rootOf(repository)).code).toBe('metadata-malformed')
  })

  it('a delegated role that one delegator trusts and another does not is checked for each', () => {
    const repository = repositoryOf()
    repository.delegate('targets', 'A', { paths: ['a'] })
    repository.delegate('targets', 'B', { paths: ['b'] })
    repository.delegate('A', 'C', { paths: ['a'] })
    repository.delegate('B', 'C', { paths: ['b'] })
    repository.addTarget('C', 'a', utf8('a'))
    repository.addTarget('C', 'b', utf8('b'))
    repository.publish('A')
    const honest = repository.holders.C!
    repository.holders.C = [repository.newSigner()]
    repository.publish('B')
    repository.holders.C = honest
    repository.publish('C', ...ALL)
    const { cycle } = runAgainst(repository, rootOf(repository))
    expect(searchIn(repository, cycle.findTarget('a'))).toMatchObject({ kind: 'found', role: 'C' })
    expect(searchIn(repository, cycle.findTarget('b'))).toMatchObject({ error: { code: 'metadata-signature' } })
  })
})
