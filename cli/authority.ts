import { readFileSync } from 'node:fs'
import { createSecureContext, rootCertificates } from 'node:tls'
import { Agent, setGlobalDispatcher } from 'undici'
import { CommandFailure, fileFailure } from './failure.ts'

/** Has the requests of this process believe certificates of one authority more than the public web's: a private one, or a certificate that vouches
 *  for itself.
 *  @param path PEM
 *  @throws CommandFailure when there is no certificate in it */
export function believeAuthority(path: string): void {
  let pem: string
  try {
    pem = readFileSync(path, 'utf8')
  } catch (cause) {
    throw fileFailure(path, cause)
  }
  try {
    createSecureContext({ ca: pem })
  } catch (cause) {
    throw new CommandFailure(`${path} holds no certificate`, { cause })
  }
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw new CommandFailure(`${path} holds no certificate`)
  setGlobalDispatcher(new Agent({ connect: { ca: [...rootCertificates, pem] } }))
}
