import { afterEach, describe, expect, it } from 'vitest'
import { type RepositoryOptions, type TestSigner, TufRepository, tufDate } from '../../fixtures/tuf-repository.ts'
import { ClientProcess } from './tuf-client-process.ts'

// The cases of the public tuf-conformance suite, one of ours for each family of theirs, against the executable that the suite runs.

const DAY_MS = 86_400_000
const utf8 = (text: string) => Buffer.from(text)
const inDays = (days: number) => tufDate(Date.now() + days * DAY_MS)
const ONLINE = ['snapshot', 'timestamp'] as const
const ALL = ['targets', ...ONLINE] as const

const open: ClientProcess[] = []
afterEach(async () => {
  for (const client of open.splice(0)) await client.end()
})

/** A repository with ECDSA keys, as the suite's, and a client that is not initialised yet. */
async function start(options: RepositoryOptions = {}) {
  const repository = new TufRepository({ keys: 'ecdsa', ...options })
  const client = await ClientProcess.start(repository)
  open.push(client)
  return { repository, client }
}

async function startInitialised(options: RepositoryOptions = {}) {
  const started = await start(options)
  started.client.provision()
  return started
}

async function startRefreshed(options: RepositoryOptions = {}) {
  const started = await startInitialised(options)
  expect(await started.client.refresh()).toBe(0)
  return started
}

const TOP_LEVEL_1 = ['root 1', 'snapshot 1', 'targets 1', 'timestamp 1']

describe('basic', () => {
  it('initialises without a request and refreshes with the expected ones', async () => {
    const { repository, client } = await start()
    expect(await client.init()).toBe(0)
    expect(repository.requests).toEqual([])
    expect(await client.refresh()).toBe(0)
    expect(repository.askedRoles).toEqual(['root 2', 'timestamp', 'snapshot 1', 'targets 1'])
    expect(client.trusted).toEqual(TOP_LEVEL_1)
  })

  it('refreshes before it looks for a target', async () => {
    const { repository, client } = await startInitialised()
    expect(await client.download('nonexistent artifact')).toBe(1)
    expect(client.said).toContain('target-unknown')
    expect(repository.askedRoles).toEqual(['root 2', 'timestamp', 'snapshot 1', 'targets 1'])
    expect(client.trusted).toEqual(TOP_LEVEL_1)
  })

  it('asks for root and timestamp only when nothing is new', async () => {
    const { repository, client } = await startRefreshed()
    repository.requests.length = 0
    expect(await client.refresh()).toBe(0)
    expect(repository.askedRoles).toEqual(['root 2', 'timestamp'])
  })

  it.each(['no version', 'another signature'])('makes no request with an initial root that has %s', async (what) => {
    const { repository, client } = await start()
    const root = JSON.parse(Buffer.from(repository.published.root![0]!).toString())
    if (what === 'no version') delete root.signed.version
    else root.signatures[0].sig = repository.newSigner().sign(utf8('something else'))
    await client.init(utf8(JSON.stringify(root)))
    expect(await client.refresh()).toBe(1)
    expect(repository.requests).toEqual([])
  })

  it.each([
    ['root', ['root 1']],
    ['timestamp', ['root 1']],
    ['snapshot', ['root 1', 'timestamp 1']],
    ['targets', ['root 1', 'snapshot 1', 'timestamp 1']],
  ])('stops at a %s that nobody signed and keeps what came before', async (role, trusted) => {
    const { repository, client } = await start()
    for (const one of ALL) repository.restart(one)
    repository.signing[role] = []
    repository.publish(...(role === 'root' ? ['root'] : ALL))
    client.provision()
    expect(await client.refresh()).toBe(1)
    expect(client.trusted).toEqual(trusted)
  })

  it('keeps the timestamp it has when another of the same version is served', async () => {
    const { repository, client } = await startRefreshed()
    repository.restart('timestamp')
    repository.timestampMeta = { version: 100 }
    repository.publish('timestamp')
    const before = client.bytes('timestamp.json')
    expect(await client.refresh()).toBe(0)
    expect(repository.askedRoles.at(-1)).toBe('timestamp')
    expect(client.bytes('timestamp.json')).toEqual(before)
  })

  it('takes metadata with right hashes and refuses targets with a wrong one', async () => {
    const { repository, client } = await start({ metaHashes: true })
    repository.publish(...ALL)
    client.provision()
    expect(await client.refresh()).toBe(0)
    repository.publish('targets')
    repository.snapshotMeta['targets.json'] = { version: 3, hashes: { sha256: '46'.repeat(32) } }
    repository.publish(...ONLINE)
    expect(await client.refresh()).toBe(1)
    expect(client.said).toContain('metadata-hash-mismatch')
    expect(client.trusted).toEqual(['root 1', 'snapshot 3', 'targets 2', 'timestamp 3'])
  })

  it('does not fetch targets that the snapshot does not name', async () => {
    const { repository, client } = await startRefreshed()
    repository.publish('targets')
    expect(await client.refresh()).toBe(0)
    expect(client.trusted).toEqual(TOP_LEVEL_1)
    expect(repository.askedRoles.at(-1)).toBe('timestamp')
  })

  it('stores bytes as it received them', async () => {
    const { repository, client } = await startInitialised()
    const bytes = Buffer.concat([repository.published.timestamp![0]!, utf8(' \n')])
    repository.published.timestamp![0] = bytes
    expect(await client.refresh()).toBe(0)
    expect(client.bytes('timestamp.json')).toEqual(bytes)
  })

  it('takes unknown fields, in root, role and key, and key ids that are no hash', async () => {
    const { repository, client } = await startRefreshed()
    repository.extra.root = { 'custom-field': 'value' }
    const { keyId: _, ...key } = repository.newSigner()
    const opaque = { ...key, keyId: 'opaque', key: { ...key.key, keyid_hash_algorithms: ['md5'], more: { a: 1 } } }
    repository.addKey('root', opaque)
    repository.forge('root', (signed) => ({
      ...signed,
      roles: { ...(signed.roles as object), mirrors: { keyids: [], threshold: 1, 'another-field': 'value' } },
    }))
    repository.holders.snapshot = []
    repository.signing.snapshot = []
    repository.addKey('snapshot', { ...opaque, keyId: 'opaque-too' })
    repository.publish('root', ...ONLINE)
    expect(await client.refresh()).toBe(0)
    expect(client.trusted).toEqual(['root 3', 'snapshot 2', 'targets 1', 'timestamp 2'])
  })

  it('keeps the timestamp when its snapshot is missing', async () => {
    const { repository, client } = await startRefreshed()
    repository.timestampMeta = { version: 2 }
    repository.publish('timestamp')
    expect(await client.refresh()).toBe(1)
    expect(repository.askedRoles.at(-1)).toBe('snapshot 2')
    expect(client.trusted).toEqual(['root 1', 'snapshot 1', 'targets 1', 'timestamp 2'])
  })

  it('keeps timestamp and snapshot when the targets are missing', async () => {
    const { repository, client } = await startRefreshed()
    repository.snapshotMeta['targets.json'] = { version: 2 }
    repository.publish(...ONLINE)
    expect(await client.refresh()).toBe(1)
    expect(repository.askedRoles.at(-1)).toBe('targets 2')
    expect(client.trusted).toEqual(['root 1', 'snapshot 2', 'targets 1', 'timestamp 2'])
  })

  it('fails without a timestamp, and with a root that is there and cannot be had', async () => {
    const { repository, client } = await startRefreshed()
    repository.faults.set('metadata/timestamp.json', 404)
    expect(await client.refresh()).toBe(1)
    expect(client.said).toContain('metadata-missing')
    repository.faults.set('metadata/2.root.json', 500)
    expect(await client.refresh()).toBe(1)
    expect(client.said).toContain('metadata-unavailable')
    expect(client.trusted).toEqual(TOP_LEVEL_1)
  })

  it('refuses a snapshot in the place of the timestamp, though the timestamp key signed it', async () => {
    const { repository, client } = await startInitialised()
    repository.addKey('snapshot', repository.holders.timestamp![0])
    repository.snapshotMeta = { 'snapshot.json': { version: 1 } }
    repository.publish('root', 'snapshot')
    repository.published.timestamp!.push(repository.published.snapshot!.pop()!)
    expect(await client.refresh()).toBe(1)
    expect(client.trusted).toEqual(['root 2'])
  })

  it('takes at most 256 new roots a run and goes on from there', async () => {
    const { repository, client } = await startInitialised()
    for (let i = 0; i < 257; i++) repository.publish('root')
    expect(await client.refresh()).toBe(0)
    expect(client.trusted[0]).toBe('root 257')
    expect(await client.refresh()).toBe(0)
    expect(client.trusted[0]).toBe('root 258')
  })

  it('refuses files longer than their limits without reading them to the end', async () => {
    const { repository, client } = await startInitialised()
    repository.published.timestamp![0] = Buffer.concat([repository.published.timestamp![0]!, Buffer.alloc(17_000, ' ')])
    expect(await client.refresh()).toBe(1)
    expect(client.said).toContain('metadata-too-large')
  })

  it('exits 1 on anything it does not understand', async () => {
    const { client } = await startRefreshed()
    for (const args of [[], ['refresh'], ['--metadata-dir', client.metadataDir, 'dance'], ['--wings', '2']]) {
      expect(await client.run(args), args.join(' ')).toBe(1)
    }
  })
})

describe('expiry', () => {
  it('keeps an expired root and goes no further', async () => {
    const { repository, client } = await startRefreshed()
    repository.publish('root')
    expect(await client.refresh()).toBe(0)
    repository.expires.root = inDays(-1)
    repository.publish('root', 'timestamp')
    expect(await client.refresh()).toBe(1)
    expect(client.said).toContain('metadata-expired')
    expect(client.trusted).toEqual(['root 3', 'snapshot 1', 'targets 1', 'timestamp 1'])
  })

  it.each([
    ['timestamp', ['timestamp'], ['root 1', 'snapshot 1', 'targets 1', 'timestamp 1']],
    ['snapshot', ONLINE, ['root 1', 'snapshot 1', 'targets 1', 'timestamp 2']],
    ['targets', ALL, ['root 1', 'snapshot 2', 'targets 1', 'timestamp 2']],
  ] as const)('does not take an expired %s', async (role, roles, trusted) => {
    const { repository, client } = await startRefreshed()
    repository.expires[role] = inDays(-5)
    repository.publish(...roles)
    expect(await client.refresh()).toBe(1)
    expect(client.trusted).toEqual(trusted)
  })

  it('updates from a local root and a local timestamp that have expired meanwhile', async () => {
    const { repository, client } = await startInitialised()
    repository.expires.root = inDays(7)
    repository.expires.timestamp = inDays(7)
    repository.publish('root', 'timestamp')
    expect(await client.refresh()).toBe(0)
    expect(await client.refresh(8 * DAY_MS)).toBe(1)
    repository.expires.root = inDays(21)
    repository.expires.timestamp = inDays(21)
    repository.publish('root', ...ALL)
    expect(await client.refresh(18 * DAY_MS)).toBe(0)
    expect(client.trusted).toEqual(['root 3', 'snapshot 2', 'targets 2', 'timestamp 3'])
  })

  it('does not use a delegated role past its expiry, fresh or kept, and uses its successor', async () => {
    const { repository, client } = await startInitialised()
    repository.delegate('targets', 'delegated', { paths: ['dir/*'] })
    repository.addTarget('delegated', 'dir/first', utf8('first'))
    repository.addTarget('delegated', 'dir/second', utf8('second'))
    repository.expires.delegated = inDays(-1)
    repository.publish('delegated', ...ALL)
    expect(await client.refresh()).toBe(0)
    expect(await client.download('dir/first')).toBe(1)
    expect(client.trusted).toEqual(['root 1', 'snapshot 2', 'targets 2', 'timestamp 2'])
    repository.expires.delegated = inDays(7)
    repository.publish('delegated', ...ONLINE)
    expect(await client.download('dir/first')).toBe(0)
    expect(await client.download('dir/second', 18 * DAY_MS)).toBe(1)
    expect(client.downloaded).toEqual(['first'])
    repository.expires.delegated = inDays(21)
    repository.publish('delegated', ...ONLINE)
    expect(await client.download('dir/second', 18 * DAY_MS)).toBe(0)
    expect(client.downloaded).toEqual(['first', 'second'])
  })
})

describe('rollback', () => {
  it('refuses an older timestamp', async () => {
    const { repository, client } = await startInitialised()
    repository.publish('timestamp')
    expect(await client.refresh()).toBe(0)
    repository.restart('timestamp')
    repository.publish('timestamp')
    expect(await client.refresh()).toBe(1)
    expect(client.said).toContain('metadata-rollback')
    expect(client.trusted).toContain('timestamp 2')
  })

  it.each([false, true])('refuses an older snapshot, hashes: %s', async (metaHashes) => {
    const { repository, client } = await startInitialised({ metaHashes })
    repository.publish(...ONLINE)
    expect(await client.refresh()).toBe(0)
    repository.restart('snapshot')
    repository.publish(...ONLINE)
    expect(await client.refresh()).toBe(1)
    expect(repository.askedRoles.at(-1)).toBe('timestamp')
    expect(client.trusted).toEqual(['root 1', 'snapshot 2', 'targets 1', 'timestamp 2'])
  })

  it.each([false, true])('refuses older targets by the local snapshot, hashes: %s', async (metaHashes) => {
    const { repository, client } = await startInitialised({ metaHashes })
    repository.publish(...ALL)
    expect(await client.refresh()).toBe(0)
    repository.restart('targets')
    repository.publish(...ALL)
    expect(await client.refresh()).toBe(1)
    expect(client.trusted).toEqual(['root 1', 'snapshot 2', 'targets 2', 'timestamp 3'])
  })

  it('refuses a snapshot from which a role has disappeared', async () => {
    const { repository, client } = await startInitialised()
    repository.delegate('targets', 'delegated', { paths: ['dir/*'] })
    repository.publish('delegated', ...ALL)
    expect(await client.refresh()).toBe(0)
    delete repository.snapshotMeta['delegated.json']
    repository.publish(...ONLINE)
    expect(await client.refresh()).toBe(1)
    expect(client.said).toContain('metadata-rollback')
    expect(client.trusted).toContain('snapshot 2')
  })

  it.each([
    ['targets', ['snapshot']],
    ['snapshot', ['snapshot', 'timestamp']],
    ['timestamp', ['timestamp']],
  ])('recovers from a fast-forward of %s when root rotates the keys of %s', async (role, rotated) => {
    const { repository, client } = await startInitialised()
    repository.delegate('targets', 'delegated', { paths: ['dir/*'] })
    repository.publish('delegated', 'targets', 'snapshot')
    for (let i = 0; i < 98; i++) repository.publish(role)
    repository.publish(...ONLINE.filter((one) => one !== role || role === 'timestamp'))
    expect(await client.refresh()).toBe(0)
    for (const one of rotated) repository.rotateKeys(one)
    repository.restart(role)
    if (role === 'targets') delete repository.snapshotMeta['delegated.json']
    repository.publish('root', ...ALL.filter((one) => one !== role), role)
    if (role !== 'timestamp')
      repository.publish(...ONLINE.filter((one) => one !== role || role === 'snapshot').slice(-1))
    if (role === 'targets') repository.publish(...ONLINE)
    expect(await client.refresh(), client.said).toBe(0)
    expect(client.trusted.find((one) => one.startsWith(role))).toBe(`${role} 1`)
  })
})

describe('keys', () => {
  it('refuses a snapshot below its threshold, and one whose threshold no keys can meet', async () => {
    const { repository, client } = await start()
    repository.thresholds.snapshot = 3
    repository.addKey('snapshot')
    repository.addKey('snapshot')
    repository.publish('root', ...ALL)
    client.provision()
    expect(await client.refresh()).toBe(0)
    repository.signing.snapshot!.pop()
    repository.publish(...ALL)
    expect(await client.refresh()).toBe(1)
    expect(client.said).toContain('metadata-threshold')
    expect(client.trusted).toContain('snapshot 2')
    repository.thresholds.snapshot = 6
    repository.publish('root', ...ONLINE)
    expect(await client.refresh()).toBe(1)
    expect(client.trusted).toContain('root 3')
  })

  it('refuses a role that lists one key many times to fake its threshold', async () => {
    const { repository, client } = await startInitialised()
    const signer = repository.addKey('snapshot')
    repository.thresholds.snapshot = 6
    repository.forge('root', (signed) => {
      const roles = signed.roles as Record<string, { keyids: string[]; threshold: number }>
      const keyids = [...roles.snapshot!.keyids, ...new Array<string>(8).fill(signer.keyId)]
      return { ...signed, roles: { ...roles, snapshot: { keyids, threshold: 6 } } }
    })
    repository.publish(...ONLINE)
    repeatSignature(repository, signer, 8)
    expect(await client.refresh()).toBe(1)
    expect(client.trusted.join()).not.toContain('snapshot')
  })

  it('refuses a signature that is there twice, though one is enough', async () => {
    const { repository, client } = await startInitialised()
    repeatSignature(repository, repository.signing.snapshot![0]!, 1)
    expect(await client.refresh()).toBe(1)
    expect(client.trusted).toEqual(['root 1', 'timestamp 1'])
  })

  function repeatSignature(repository: TufRepository, signer: TestSigner, times: number) {
    const document = JSON.parse(Buffer.from(repository.published.snapshot!.pop()!).toString())
    const signature = document.signatures.find((one: { keyid: string }) => one.keyid === signer.keyId)
    for (let i = 0; i < times; i++) document.signatures.push(signature)
    repository.published.snapshot!.push(utf8(JSON.stringify(document)))
  }

  it.each(['rsa', 'ecdsa', 'ed25519'] as const)('knows %s keys and their wrong signatures', async (kind) => {
    const { repository, client } = await startInitialised()
    const signer = repository.addKey('root', repository.newSigner(kind))
    repository.thresholds.root = 2
    repository.publish('root')
    expect(await client.refresh()).toBe(0)
    expect(client.trusted).toContain('root 2')
    const wrong = { ...signer, sign: () => signer.sign(utf8('another document')) }
    repository.signing.root = repository.signing.root!.map((one) => (one === signer ? wrong : one))
    repository.publish('root')
    expect(await client.refresh()).toBe(1)
    expect(client.trusted).toContain('root 2')
  })

  it('takes metadata that has enough signatures besides a wrong one, and besides an empty one', async () => {
    const { repository, client } = await startInitialised()
    const [first] = repository.signing.timestamp!
    repository.addKey('timestamp')
    for (const sig of [first!.sign(utf8('x')), '', 'zz', first!.sign(utf8('x')).slice(1)]) {
      repository.signing.timestamp![0] = { ...first!, sign: () => sig }
      repository.publish('root', 'timestamp')
      expect(await client.refresh(), sig).toBe(0)
    }
  })

  it('ignores keys of schemes nobody knows', async () => {
    const { repository, client } = await startInitialised()
    const strange = {
      ...repository.newSigner(),
      keyId: 'strange',
      key: { keytype: 'wax', scheme: 'seal', keyval: { ring: 'x' } },
    }
    repository.holders.root!.unshift(strange)
    repository.forge('root', (signed) => signed)
    expect(await client.refresh()).toBe(0)
    expect(client.trusted).toContain('root 2')
  })
})

/** [keys, threshold, signers] of one version, and of one after another; and whether the last is taken */
type RoleVersion = readonly [number[], number, number[]]
type Rotation = readonly [name: string, taken: boolean, ...versions: RoleVersion[]]

const FIVE = [0, 1, 2, 3, 4]
const rootRotations: Rotation[] = [
  ['one key', true, [[1], 1, [1]], [[2], 1, [2, 1]], [[2], 1, [2]]],
  ['unused signatures', true, [[1], 1, [3, 1, 4]], [[2], 1, [3, 2, 1, 4]], [[2], 1, [3, 2, 4]]],
  ['other signers of five', true, [FIVE, 3, [0, 2, 4]], [FIVE, 3, [0, 4, 1]], [FIVE, 3, [0, 1, 3]]],
  ['one of five', true, [FIVE, 3, [0, 2, 4]], [[0, 1, 3, 4, 5], 3, [0, 4, 1]]],
  [
    'all of five',
    true,
    [FIVE, 3, [0, 2, 4]],
    [[5, 6, 7, 8, 9], 3, [0, 2, 4, 5, 6, 7]],
    [[5, 6, 7, 8, 9], 3, [5, 6, 7]],
  ],
  ['threshold up', true, [[1, 2, 3], 1, [1]], [[1, 2, 3], 2, [1, 2]]],
  ['threshold down', true, [[1, 2, 3], 2, [1, 2]], [[1, 2, 3], 1, [1, 2]], [[1, 2, 3], 1, [1]]],
  ['not by the old key', false, [[1], 1, [1]], [[2], 1, [2, 3, 4]]],
  ['not by the new key', false, [[1], 1, [1]], [[2], 1, [1, 3, 4]]],
  ['not by three new keys', false, [FIVE, 3, [0, 2, 4]], [[0, 1, 3, 4, 5], 3, [0, 2, 4]]],
  ['not by three old keys', false, [FIVE, 3, [0, 2, 4]], [[0, 1, 3, 4, 5], 3, [0, 4, 5]]],
  ['new threshold not met', false, [[1, 2, 3], 1, [1]], [[1, 2, 3], 2, [2]]],
  ['old threshold not met', false, [[1, 2, 3], 2, [1, 2]], [[1, 2, 3], 1, [1]]],
]

describe('rotation', () => {
  function useKeys(repository: TufRepository, role: string, signers: TestSigner[], [keys, threshold, by]: RoleVersion) {
    repository.holders[role] = keys.map((i) => signers[i]!)
    repository.signing[role] = by.map((i) => signers[i]!)
    repository.thresholds[role] = threshold
  }

  it.each(rootRotations)('of root: %s, taken: %s', async (_name, taken, ...versions) => {
    const { repository, client } = await start()
    repository.restart('root')
    const signers = Array.from({ length: 10 }, () => repository.newSigner())
    for (const version of versions as unknown as RoleVersion[]) {
      useKeys(repository, 'root', signers, version)
      repository.publish('root')
    }
    client.provision()
    expect(await client.refresh()).toBe(taken ? 0 : 1)
    expect(client.bytes('root.json')).toEqual(repository.published.root!.at(taken ? -1 : -2))
  })

  it.each([
    ['one key', true, [[2], 1, [2]]],
    ['unused signatures', true, [[1], 1, [3, 1, 4]]],
    ['three of five', true, [FIVE, 3, [2, 3, 4]]],
    ['not by the new key', false, [[2], 1, [1, 3, 4]]],
    ['two of five', false, [[0, 1, 3, 4, 5], 3, [0, 4]]],
    ['two right ones and a stranger', false, [[0, 1, 3, 4, 5], 3, [0, 2, 4]]],
  ] as [string, boolean, RoleVersion][])('of the other roles: %s, taken: %s', async (_name, taken, version) => {
    const { repository, client } = await startInitialised()
    const signers = Array.from({ length: 10 }, () => repository.newSigner())
    for (const role of ['timestamp', 'snapshot', 'targets']) {
      useKeys(repository, role, signers, version)
      repository.publish('root', ...ALL)
      expect(await client.refresh(), role).toBe(taken ? 0 : 1)
      if (taken) expect(client.bytes(`${role}.json`)).toEqual(repository.published[role]!.at(-1))
    }
  })
})

describe('targets', () => {
  it.each([true, false])(
    'downloads, keeps and replaces targets, consistent snapshots: %s',
    async (consistentSnapshot) => {
      const { repository, client } = await startInitialised({ consistentSnapshot })
      repository.addTarget('targets', 'path/to/a/file.txt', utf8('one'))
      repository.addTarget('targets', 'other.txt', utf8('other'))
      repository.publish(...ALL)
      expect(await client.refresh()).toBe(0)
      expect(client.downloaded).toEqual([])
      expect(await client.download(['path/to/a/file.txt', 'other.txt'])).toBe(0)
      expect(client.downloaded).toEqual(['one', 'other'])
      expect(repository.askedRoles).toContain(consistentSnapshot ? 'targets 2' : 'targets')
      const asked = () => repository.requests.filter((address) => address.startsWith('targets/'))
      expect(asked()[0]).toMatch(
        consistentSnapshot ? /^targets\/path\/to\/a\/[0-9a-f]{64}\.file\.txt$/ : /a\/file\.txt$/,
      )
      // Kept: not fetched again.
      expect(await client.download(['path/to/a/file.txt'])).toBe(0)
      expect(asked()).toHaveLength(2)
      repository.addTarget('targets', 'path/to/a/file.txt', utf8('two'))
      repository.publish(...ALL)
      expect(await client.download('path/to/a/file.txt')).toBe(0)
      expect(client.downloaded).toEqual(['other', 'two'])
      // Replaced by an attacker: same length, other bytes, and more of them.
      for (const evil of ['owt', 'two and more']) {
        repository.artifacts.set('path/to/a/file.txt', utf8(evil))
        repository.artifacts.set('other.txt', utf8(evil))
        repository.addTarget('targets', 'new.txt', utf8('new'))
        repository.artifacts.set('new.txt', utf8(evil))
        repository.publish(...ALL)
        expect(await client.download('new.txt')).toBe(1)
        expect(client.downloaded).toEqual(['other', 'two'])
      }
    },
  )

  it.each([[['sha256']], [['sha512']], [['sha256', 'sha512']]])('checks %j', async (algorithms) => {
    const { repository, client } = await startInitialised()
    repository.addTarget('targets', 'file', utf8('content'), undefined, algorithms)
    repository.publish(...ALL)
    expect(await client.download('file')).toBe(0)
    expect(client.downloaded).toEqual(['content'])
  })

  it('does not take a target whose hash algorithm it does not know', async () => {
    const { repository, client } = await startInitialised()
    repository.addTarget('targets', 'file', utf8('content'), undefined, ['sha512'])
    const file = repository.targetFiles.targets!.file!
    file.hashes = { 'unknown-hash': (file.hashes as Record<string, string>).sha512 }
    repository.publish(...ALL)
    expect(await client.download('file')).toBe(1)
    expect(client.downloaded).toEqual([])
  })

  it.each(['?', '#', '/delegatedrole', '../delegatedrole', '.', '..', "it's (me)*!", 'a b%2f', 'größe'])(
    'asks for the role %j and keeps it under a name that stays in the folder',
    async (role) => {
      const { repository, client } = await startInitialised()
      repository.delegate('targets', role)
      repository.publish(role, ...ALL)
      expect(await client.download('nonexistent target')).toBe(1)
      expect(client.said).toContain('target-unknown')
      const quoted = encodeURIComponent(role).replace(
        /[!'()*]/g,
        (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
      )
      expect(repository.requests).toContain(`metadata/1.${quoted}.json`)
      expect(client.trusted).toHaveLength(5)
      // It is found again by that name.
      repository.requests.length = 0
      expect(await client.download('nonexistent target')).toBe(1)
      expect(repository.askedRoles).toEqual(['root 2', 'timestamp'])
    },
  )

  it.each(['../escape', '/etc/passwd', 'a//b', 'a/./b', 'a\\b', 'a/\u0001'])('refuses the path %j', async (path) => {
    const { repository, client } = await startInitialised()
    repository.addTarget('targets', path, utf8('x'))
    repository.publish(...ALL)
    expect(await client.download(path)).toBe(1)
    expect(client.said).toContain('target-path-unsafe')
  })
})

describe('delegations', () => {
  type Edge = readonly [delegator: string, role: string, options?: { paths?: string[]; terminating?: boolean }]
  const PY = { paths: ['*.py'] }
  const LAST = { terminating: true }

  it.each<[string, Edge[], string]>([
    ['one', [['targets', 'A']], 'A'],
    [
      'two',
      [
        ['targets', 'A'],
        ['targets', 'B'],
      ],
      'A B',
    ],
    [
      'two levels',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['B', 'C'],
      ],
      'A B C',
    ],
    [
      'depth first',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['A', 'C'],
        ['A', 'D'],
      ],
      'A C D B',
    ],
    [
      'three levels',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['A', 'C'],
        ['C', 'D'],
      ],
      'A C D B',
    ],
    [
      'terminating',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['A', 'C', LAST],
        ['A', 'D'],
      ],
      'A C',
    ],
    [
      'terminating with children',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['A', 'C', LAST],
        ['C', 'D'],
      ],
      'A C D',
    ],
    [
      'another path',
      [
        ['targets', 'A', PY],
        ['targets', 'B'],
        ['A', 'C'],
      ],
      'B',
    ],
    [
      'another path below',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['A', 'C', PY],
        ['C', 'D'],
      ],
      'A B',
    ],
    [
      'a cycle',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['B', 'C'],
        ['C', 'D'],
        ['D', 'B'],
      ],
      'A B C D',
    ],
    [
      'two to a third',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['B', 'C'],
        ['A', 'C'],
      ],
      'A C B',
    ],
    [
      'two to a third, one not for it',
      [
        ['targets', 'A'],
        ['targets', 'B'],
        ['B', 'C'],
        ['A', 'C', PY],
      ],
      'A B C',
    ],
  ])('visits %s in order', async (_name, edges, order) => {
    const { repository, client } = await startInitialised()
    for (const [delegator, role, options] of edges) repository.delegate(delegator, role, options)
    repository.publish(...new Set(edges.map(([, role]) => role)), ...ALL)
    expect(await client.download('missingpath')).toBe(1)
    expect(repository.askedRoles.slice(4).map((role) => role.replace(' 1', ''))).toEqual(order.split(' '))
  })

  it.each([
    ['targetfile', true, ''],
    ['README.md', true, 'A'],
    ['releases/x/x_v1', true, 'B C'],
    ['releases/y/y_v1.zip', true, 'B D'],
    ['releases/z/z_v1.zip', false, 'B'],
  ])('finds %s: %s, by %j', async (path, found, order) => {
    const { repository, client } = await startInitialised()
    repository.delegate('targets', 'A', { paths: ['*.doc', '*.md'] })
    repository.delegate('targets', 'B', { paths: ['releases/*/*'] })
    repository.delegate('B', 'C', { paths: ['releases/x/*'] })
    repository.delegate('B', 'D', { paths: ['releases/y/*.zip'] })
    repository.addTarget('targets', 'targetfile', utf8('targetfile'))
    repository.addTarget('A', 'README.md', utf8('README.md'))
    repository.addTarget('C', 'releases/x/x_v1', utf8('releases/x/x_v1'))
    repository.addTarget('D', 'releases/y/y_v1.zip', utf8('releases/y/y_v1.zip'))
    repository.addTarget('D', 'releases/z/z_v1.zip', utf8('releases/z/z_v1.zip'))
    repository.publish('A', 'B', 'C', 'D', ...ALL)
    expect(await client.download(path)).toBe(found ? 0 : 1)
    expect(client.downloaded).toEqual(found ? [path] : [])
    expect(
      repository.askedRoles
        .slice(4)
        .map((role) => role.replace(' 1', ''))
        .join(' '),
    ).toBe(order)
  })

  it('finds targets in hash bins and by hash prefix', async () => {
    const { repository, client } = await startInitialised()
    repository.hashBins.targets = { prefix: 'bin', bitLength: 3 }
    repository.addKey('bin')
    for (let i = 0; i < 8; i++) repository.signing[`bin-${i}`] = repository.signing.bin!
    // sha256("a/b") begins with 0xc1, so its first three bits are 6.
    repository.addTarget('bin-6', 'a/b', utf8('in a bin'))
    repository.publish(...Array.from({ length: 8 }, (_, i) => `bin-${i}`), ...ALL)
    expect(await client.download('a/b')).toBe(0)
    expect(client.trusted).toContain('bin-6 1')
    delete repository.hashBins.targets
    repository.delegate('targets', 'low', { pathHashPrefixes: ['0', '1'] })
    repository.delegate('targets', 'high', { pathHashPrefixes: ['c1'] })
    repository.addTarget('low', 'a/b', utf8('low'))
    repository.addTarget('high', 'a/b', utf8('high'))
    repository.publish('low', 'high', ...ALL)
    expect(await client.download('a/b')).toBe(0)
    expect(client.downloaded).toEqual(['high'])
  })
})
