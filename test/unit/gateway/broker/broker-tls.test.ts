import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterAll, expect, it } from 'vitest'
import { BROKER_LIMITS, Broker, type BrokerHandlers } from '../../../../gateway/broker/broker.ts'
import { Strangers } from '../../../../gateway/broker/strangers.ts'
import { MessageCounters } from '../../../../gateway/message-counters.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-broker-'))
afterAll(() => rmSync(dir, { recursive: true }))

function selfSigned(name: string) {
  const [key, cert] = [join(dir, `${name}.key`), join(dir, `${name}.pem`)]
  const how = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  execFileSync('openssl', [...how, '-subj', `/CN=${name}`, '-keyout', key, '-out', cert], { stdio: 'pipe' })
  return { key: readFileSync(key), cert: readFileSync(cert) }
}

const nameAt = (port: number) =>
  new Promise<unknown>((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subject.CN)
      socket.destroy()
    })
    socket.once('error', reject)
  })

const handlers: BrokerHandlers = {
  preConnect: (_client, _packet, done) => done(null, false),
  authenticate: (_client, _username, _password, done) => done(null, false),
  authorizePublish: (_client, _packet, done) => done(new Error('no')),
  authorizeSubscribe: (_client, _subscription, done) => done(null, null),
}
const listen = (tls?: { key: Buffer; cert: Buffer }) => {
  const strangers = new Strangers(BROKER_LIMITS, () => {})
  const options = { host: '127.0.0.1', mqttPort: 0, wsPort: 0, tls, strangers }
  return Broker.listen(options, handlers, BROKER_LIMITS, new MessageCounters())
}

it('new connections see the new certificate at both ports', async () => {
  const broker = await listen(selfSigned('first'))
  const names = async () => [await nameAt(broker.mqttPort), await nameAt(broker.wsPort)]
  expect(await names()).toEqual(['first', 'first'])
  const second = selfSigned('second')
  broker.renewTls(second)
  expect(await names()).toEqual(['second', 'second'])
  // What does not fit leaves what is there.
  expect(() => broker.renewTls({ ...second, key: selfSigned('third').key })).toThrow()
  expect(await names()).toEqual(['second', 'second'])
  await broker.close()
})

it('ports without TLS take no certificate', async () => {
  const broker = await listen()
  expect(() => broker.renewTls(selfSigned('late'))).toThrow('the ports do not speak TLS')
  await broker.close()
})
