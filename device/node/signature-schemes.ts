import { constants, createPublicKey, type KeyObject, type VerifyKeyObjectInput, verify } from 'node:crypto'
import {
  PORTABLE_SCHEMES,
  type SignatureScheme,
  type SignatureSchemes,
  schemeName,
} from '../../contract/tuf/signature-scheme.ts'

/** A scheme of node:crypto over PEM keys. OpenSSL throws at what is no key or no signature; here that is a signature not valid.
 *  @param fits whether a key is of the kind that the scheme names; a key may claim one scheme and be for another
 */
const pemScheme = (
  fits: (key: KeyObject) => boolean,
  inputOf: (key: KeyObject) => VerifyKeyObjectInput,
): SignatureScheme => ({
  verify(publicKey, message, signature) {
    try {
      const key = createPublicKey(publicKey)
      return fits(key) && verify('sha256', message, inputOf(key), signature)
    } catch {
      return false
    }
  },
})

const isP256 = (key: KeyObject) =>
  key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1'

/** chosen: what NIST SP 800-131A still accepts; a shorter modulus is a forgery away. */
const RSA_BITS_MIN = 2_048
const isRsa = (key: KeyObject) =>
  key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= RSA_BITS_MIN

/** Signatures in DER, as TUF's reference implementation writes them. */
const ecdsaP256 = pemScheme(isP256, (key) => ({ key, dsaEncoding: 'der' }))
const rsaPss = pemScheme(isRsa, (key) => ({
  key,
  padding: constants.RSA_PKCS1_PSS_PADDING,
  saltLength: constants.RSA_PSS_SALTLEN_AUTO,
}))
const rsaPkcs1 = pemScheme(isRsa, (key) => ({ key, padding: constants.RSA_PKCS1_PADDING }))

/** Every scheme of section 4.2 of TUF, and those that hardware tokens of its reference implementation sign with. A device that
 *  reads only repositories of our own needs no more than `PORTABLE_SCHEMES`. */
export const NODE_SCHEMES: SignatureSchemes = new Map([
  ...PORTABLE_SCHEMES,
  [schemeName('ecdsa', 'ecdsa-sha2-nistp256'), ecdsaP256],
  // Key type of metadata written before TUF 1.0.
  [schemeName('ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp256'), ecdsaP256],
  [schemeName('rsa', 'rsassa-pss-sha256'), rsaPss],
  [schemeName('rsa', 'rsa-pkcs1v15-sha256'), rsaPkcs1],
])
