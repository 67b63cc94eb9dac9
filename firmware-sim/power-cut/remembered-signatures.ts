import { sha256Hex } from '../../contract/bytes.ts'
import { PORTABLE_SCHEMES, type SignatureScheme, type SignatureSchemes } from '../../contract/tuf/signature-scheme.ts'

/** Chosen: a fleet meets a few hundred documents in a story, each with one or two signatures. */
const REMEMBERED_MAX = 10_000

/** The portable schemes, each signature checked once: a signature is a function of its bytes, and a simulated fleet meets the same
 *  documents hundreds of times, at two milliseconds each. */
export function rememberedSchemes(): SignatureSchemes {
  const remembering = (scheme: SignatureScheme): SignatureScheme => {
    const known = new Map<string, boolean>()
    return {
      verify(publicKey, message, signature) {
        const key = `${publicKey} ${sha256Hex(message)} ${sha256Hex(signature)}`
        const found = known.get(key)
        if (found !== undefined) return found
        const valid = scheme.verify(publicKey, message, signature)
        if (known.size < REMEMBERED_MAX) known.set(key, valid)
        return valid
      },
    }
  }
  return new Map([...PORTABLE_SCHEMES].map(([name, scheme]) => [name, remembering(scheme)]))
}
