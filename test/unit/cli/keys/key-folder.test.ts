import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import nacl from 'tweetnacl'
import { afterAll, describe, expect, it } from 'vitest'
import { CommandFailure } from '../../../../cli/failure.ts'
import { KeyFolder, readPublicKeyFile } from '../../../../cli/keys/key-folder.ts'
import { openSecret, SCRYPT_COST, type SealedSecret, sealedSchema, sealSecret } from '../../../../cli/keys/key-seal.ts'
import { hexToBytes } from '../../../../contract/bytes.ts'
import { tufKeyId } from '../../../../release/tuf-document.ts'

const random = { bytes: (length: number) => new Uint8Array(randomBytes(length)) }
const CHEAP = { n: 2 ** 14, r: 8, p: 1 }
const root = mkdtempSync(join(tmpdir(), 'kinglet-keys-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
let folders = 0
const folderOf = (passphrase = 'correct horse', path = join(root, `keys-${folders++}`)) =>
  new KeyFolder(path, { read: async () => passphrase }, random, CHEAP)

describe('a sealed secret', () => {
  const seed = random.bytes(32)

  it('opens with its passphrase, however that was typed, and with no other', async () => {
    const sealed = await sealSecret(seed, 'pässword', random, CHEAP)
    expect(sealedSchema.safeParse(sealed).success).toBe(true)
    expect(await openSecret(sealed, 'pässword')).toEqual(seed)
    expect(await openSecret(sealed, 'pässword'.normalize('NFD'))).toEqual(seed)
    expect(await openSecret(sealed, 'password')).toBeUndefined()
    expect(await openSecret(sealed, '')).toBeUndefined()
    expect(JSON.stringify(sealed)).not.toContain(Buffer.from(seed).toString('hex'))
  })

  it('has the cost of its decision by default, and a salt of its own', async () => {
    const [a, b] = [await sealSecret(seed, 'p', random), await sealSecret(seed, 'p', random, CHEAP)]
    expect(a).toMatchObject({ n: 131_072, r: 8, p: 1 })
    expect(SCRYPT_COST).toEqual({ n: 131_072, r: 8, p: 1 })
    expect(a.salt).not.toBe(b.salt)
    expect(await openSecret(a, 'p')).toEqual(seed)
  })

  it('does not open when any part was changed', async () => {
    const sealed = await sealSecret(seed, 'p', random, CHEAP)
    const flip = (text: string) => (text.startsWith('0') ? '1' : '0') + text.slice(1)
    const changes: Partial<SealedSecret>[] = [
      { box: flip(sealed.box) },
      { nonce: flip(sealed.nonce) },
      { salt: flip(sealed.salt) },
      { n: 2 ** 15 },
    ]
    for (const change of changes) expect(await openSecret({ ...sealed, ...change }, 'p')).toBeUndefined()
  })

  it.each([
    ['n', 2 ** 40],
    ['n', 2 ** 21],
    ['n', 100_000],
    ['n', 1],
    ['n', -1],
    ['n', 1.5],
    ['n', '131072'],
    ['r', 1_000_000],
    ['r', 0],
    ['p', 1e9],
    ['kdf', 'none'],
    ['salt', ''],
    ['box', 'zz'],
  ])('is refused with %s = %s before anything is computed', async (field, value) => {
    const sealed = await sealSecret(seed, 'p', random, CHEAP)
    expect(sealedSchema.safeParse({ ...sealed, [field]: value }).success).toBe(false)
  })

  it('is refused when its parameters are each allowed and together take too much memory', async () => {
    const sealed = await sealSecret(seed, 'p', random, CHEAP)
    expect(sealedSchema.safeParse({ ...sealed, n: 2 ** 20, r: 8 }).success).toBe(false)
    expect(sealedSchema.safeParse({ ...sealed, n: 2 ** 19, r: 8 }).success).toBe(true)
  })
})

describe('a folder of keys', () => {
  it('signs with what it made, also when it is opened again', async () => {
    const folder = folderOf()
    const key = await folder.make('root')
    expect(statSync(key.path).mode & 0o777).toBe(0o600)
    expect(key.keyId).toBe(tufKeyId(key.publicKey))
    expect(readPublicKeyFile(key.path.replace(/\.key$/, '.pub.json'))).toBe(key.publicKey)
    const message = random.bytes(100)
    const again = folderOf('correct horse', folder.path)
    expect(again.list()).toEqual([key])
    const sig = await (await again.signer(key.keyId))!.sign(message)
    expect(nacl.sign.detached.verify(message, hexToBytes(sig), hexToBytes(key.publicKey))).toBe(true)
    expect(await again.signer('0'.repeat(64))).toBeUndefined()
  })

  it('says so when the passphrase is wrong, and names the file', async () => {
    const folder = folderOf()
    const { keyId } = await folder.make('targets')
    const wrong = folderOf('battery staple', folder.path)
    await expect(wrong.signer(keyId)).rejects.toThrow(
      /targets-.*\.key: wrong passphrase, or the file was changed\n {2}/,
    )
  })

  it('never overwrites', async () => {
    const same = { bytes: (length: number) => new Uint8Array(length).fill(9) }
    const folder = new KeyFolder(join(root, 'once'), { read: async () => 'p' }, same, CHEAP)
    const key = await folder.make('root')
    const before = readFileSync(key.path, 'utf8')
    await expect(folder.make('root')).rejects.toThrow(/exists; a key is never overwritten/)
    expect(readFileSync(key.path, 'utf8')).toBe(before)
    expect(readdirSync(folder.path)).toHaveLength(2)
  })

  it('refuses key files that are cut, too large, changed or absurd, each with its name', async () => {
    const folder = folderOf()
    const { path } = await folder.make('root')
    const text = readFileSync(path, 'utf8')
    const file = JSON.parse(text) as { secret: object; publicKey: string }
    const damaged: [unknown, RegExp][] = [
      [text.slice(0, text.length / 2), /damaged: not JSON/],
      ['', /damaged: not JSON/],
      ['x'.repeat(10_000), /too large for a key file/],
      [{ ...file, secret: { ...file.secret, n: 2 ** 30 } }, /damaged: secret\.n/],
      [{ ...file, secret: { ...file.secret, r: 1e9 } }, /damaged: secret\.r/],
      [{ ...file, secret: undefined }, /neither secret nor command/],
      [{ ...file, exec: 'x' }, /neither secret nor command/],
      [{ ...file, publicKey: 'a'.repeat(64) }, /keyId is not the key/],
      [{ ...file, role: 'timestamp' }, /role: is no offline role/],
      [{ ...file, v: 2 }, /damaged: v/],
      [null, /is no key file/],
    ]
    for (const [content, message] of damaged) {
      writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
      expect(() => folder.list()).toThrow(CommandFailure)
      expect(() => folder.list()).toThrow(message)
      expect(() => folder.list()).toThrow(path)
    }
  })

  it('whose secret is another key´s is refused before it signs', async () => {
    const folder = folderOf()
    const [a, b] = [await folder.make('root'), await folder.make('root')]
    const [fileA, fileB] = [a, b].map(({ path }) => JSON.parse(readFileSync(path, 'utf8')) as { secret: object })
    writeFileSync(a.path, JSON.stringify({ ...fileA, secret: fileB!.secret }))
    await expect(folderOf('correct horse', folder.path).signer(a.keyId)).rejects.toThrow(/do not belong together/)
  })
})

describe('public key files', () => {
  const publicKey = 'b'.repeat(64)
  const written = (content: unknown): string => {
    const path = join(root, 'public.json')
    writeFileSync(path, JSON.stringify(content))
    return path
  }
  it('are bare, or the answer of GET /v1/keys', () => {
    expect(readPublicKeyFile(written({ publicKey }))).toBe(publicKey)
    expect(readPublicKeyFile(written({ director: {}, online: { keyId: tufKeyId(publicKey), publicKey } }))).toBe(
      publicKey,
    )
  })
  it.each([[null], [[]], [{ publicKey: 'x' }], [{ publicKey, keyId: '0'.repeat(64) }], [{ online: { publicKey: 1 } }]])(
    '%j is none',
    (content) => {
      expect(() => readPublicKeyFile(written(content))).toThrow(/public\.json: /)
    },
  )
})
