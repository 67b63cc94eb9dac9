import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import nacl from 'tweetnacl'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { execPublicKey, execSigner } from '../../../../cli/keys/signer-exec.ts'
import { bytesToHex, hexToBytes } from '../../../../contract/bytes.ts'

/** A stand-in for an HSM's tool: a Node script with the seed inside; `act` is what it does. */
const dir = mkdtempSync(join(tmpdir(), 'kinglet-hsm-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const seed = new Uint8Array(32).fill(7)
const { publicKey, secretKey } = nacl.sign.keyPair.fromSeed(seed)
const publicHex = bytesToHex(publicKey)
const other = bytesToHex(nacl.sign.keyPair.fromSeed(new Uint8Array(32).fill(8)).publicKey)
let count = 0
function tool(act: string): string {
  const path = join(dir, `tool-${count++}.mjs`)
  const pkcs8 = `302e020100300506032b657004220420${bytesToHex(seed)}`
  writeFileSync(
    path,
    `import { createPrivateKey, sign } from 'node:crypto'
     import { readFileSync } from 'node:fs'
     const key = createPrivateKey({ key: Buffer.from('${pkcs8}', 'hex'), format: 'der', type: 'pkcs8' })
     const task = process.argv.at(-1)
     const signature = () => sign(null, readFileSync(0), key).toString('hex')
     ${act}`,
  )
  return `${process.execPath} ${path}`
}
const honest = `console.log(task === 'public' ? '${publicHex}' : signature())`
const message = new Uint8Array(5_000).map((_, i) => i)

describe('a signing command', () => {
  afterEach(() => {
    delete process.env.KINGLET_PASSPHRASE
  })

  it('gives its key and signatures that verify', async () => {
    const command = tool(honest)
    expect(await execPublicKey(command)).toBe(publicHex)
    const sig = await execSigner(command, publicHex).sign(message)
    expect(sig).toBe(bytesToHex(nacl.sign.detached(message, secretKey)))
    expect(nacl.sign.detached.verify(message, hexToBytes(sig), publicKey)).toBe(true)
  })

  it('is not believed when it signs with another key, or other bytes', async () => {
    await expect(execSigner(tool(honest), other).sign(message)).rejects.toThrow(/the signature is not by key/)
    const forged = tool(`console.log(sign(null, Buffer.from('something else'), key).toString('hex'))`)
    await expect(execSigner(forged, publicHex).sign(message)).rejects.toThrow(/the signature is not by key/)
  })

  it('that hangs is ended, also when it ignores signals and left a child', async () => {
    const hanging = tool(`process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)`)
    const started = performance.now()
    await expect(execSigner(hanging, publicHex, 1_500).sign(message)).rejects.toThrow(/no answer within 1\.5 s/)
    expect(performance.now() - started).toBeLessThan(15_000)
    const parent = tool(
      `const { spawn } = await import('node:child_process')
       spawn(process.execPath, ['-e', 'setTimeout(() => {}, 20000)'], { stdio: 'inherit' })
       setInterval(() => {}, 1000)`,
    )
    const again = performance.now()
    await expect(execSigner(parent, publicHex, 1_500).sign(message)).rejects.toThrow(/no answer within/)
    expect(performance.now() - again).toBeLessThan(15_000)
  })

  it('that does not stop talking is ended', async () => {
    const talking = tool(`setInterval(() => process.stdout.write('a'.repeat(1000)), 1)`)
    await expect(execSigner(talking, publicHex).sign(message)).rejects.toThrow(/more than 4096 bytes of output/)
  })

  it.each([
    ['nothing', ``, /expected 128 hex digits/],
    ['words', `console.log('touch your token')`, /expected 128 hex digits.*\n.*touch your token/],
    ['a cut signature', `console.log(signature().slice(2))`, /expected 128 hex digits/],
    ['a failure', `console.error('PIN locked'); process.exit(3)`, /it ended with 3\n.*PIN locked/],
  ])('that answers with %s fails with what it said', async (_, act, expected) => {
    await expect(execSigner(tool(act), publicHex).sign(message)).rejects.toThrow(expected)
  })

  it('that is not there, or is nothing, is said so', async () => {
    await expect(execPublicKey(join(dir, 'none'))).rejects.toThrow(/there is no such command/)
    await expect(execPublicKey(' ')).rejects.toThrow(/names no command/)
  })

  it('need not read its input, and does not see the passphrase', async () => {
    process.env.KINGLET_PASSPHRASE = 'correct horse'
    const curious = tool(`console.log(process.env.KINGLET_PASSPHRASE ?? '${publicHex}')`)
    expect(await execPublicKey(curious)).toBe(publicHex)
    const deaf = tool(`process.stdin.destroy(); console.log('${'0'.repeat(128)}')`)
    await expect(execSigner(deaf, publicHex).sign(new Uint8Array(1_000_000))).rejects.toThrow(/not by key/)
  })

  it('is run without a shell', async () => {
    await expect(execPublicKey(`${tool(honest)}; echo ${other}`)).rejects.toThrow()
  })
})
