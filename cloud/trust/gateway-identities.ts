import { hexToBytes } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import { gatewayEnrolmentMessage, gatewayTokenMessage } from '../../contract/device-proof.ts'
import type { GatewayClaimFile } from '../../contract/enrolment.ts'
import type { ContractError } from '../../contract/errors.ts'
import { present } from '../../contract/present.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { ok, type Result } from '../../contract/result.ts'
import type { GatewayRecord } from '../store/gateway-store.ts'
import type { Store } from '../store/store.ts'
import type { Challenges } from './challenges.ts'
import { type ClaimProof, claimKey, provenClaim, provenKey, refuse } from './claim-proof.ts'
import type { MintedToken, ServiceToken, TokenIssuer } from './tokens.ts'

/** chosen: as of devices; the gateway fetches the next one by itself */
const TOKEN_TTL_MS = 3_600_000

interface Parts {
  readonly store: Store
  readonly tokens: TokenIssuer
  readonly clock: Clock
  readonly random: SecureRandom
  readonly challenges: Challenges
}

/** Enrols gateways for their sites, hands out their tokens, revokes them, and takes the word of one that lies out of the evidence. */
export class GatewayIdentities {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Makes a claim; its secret is in the answer and nowhere else.
   *  @param wish.replace lets the claim take the place of a gateway that is enrolled
   *  @returns `conflict` when the name is enrolled and the claim is not to replace it */
  claim(
    wish: {
      readonly gateway: string
      readonly sites: readonly string[]
      readonly ttlMs: number
      readonly replace: boolean
    },
    by: string,
  ): Result<GatewayClaimFile, ContractError> {
    const { store, clock, random } = this.#parts
    const { identities, gateways, audit } = store
    const { gateway, replace } = wish
    const now = clock.wallMs()
    const state = gateways.byName(gateway)?.state
    if ((state === 'active' || state === 'quarantined') && !replace) {
      return refuse('conflict', `${gateway} is enrolled; say that it is to be replaced`)
    }
    const { claim, secret, publicKey } = claimKey(random)
    const sites = [...new Set(wish.sites)].sort()
    const expiresMs = now + wish.ttlMs
    store.atomically(() => {
      identities.addClaim({
        ...{ id: claim, publicKey, device: gateway, site: '', board: '', tags: [], model: null, family: null, sites },
        ...{ createdMs: now, createdBy: by, expiresMs },
      })
      const detail = { claim, sites, expiresMs, replace }
      audit.append({ atMs: now, actor: by, action: 'gateway.claimed', subject: gateway, detail })
    })
    return ok({ v: 1, claim, secret, gateway, sites, expiresMs })
  }

  /** Enrols a gateway with its key, for the sites of its claim. Its tokens of before end.
   *  @returns the codes of `provenClaim` */
  enrol(
    gateway: string,
    proof: ClaimProof,
  ): Result<{ readonly gateway: string; readonly keyId: string }, ContractError> {
    const { store, clock, challenges } = this.#parts
    const { identities, gateways, audit } = store
    const now = clock.wallMs()
    const message = gatewayEnrolmentMessage({ ...proof, gateway, publicKey: hexToBytes(proof.publicKey) })
    const proven = provenClaim(store, challenges, { kind: 'gateway', name: gateway }, proof, message, now)
    if (!proven.ok) return proven
    const { claim, keyId } = proven.value
    return store.atomically(() => {
      if (!identities.burnClaim(claim.id, now)) return refuse('claim-used', 'the claim was used a moment ago')
      const sites = claim.sites ?? []
      const replaced = gateways.byName(gateway)?.keyId ?? null
      gateways.enrol(gateway, sites, { keyId, publicKey: proof.publicKey }, now)
      const detail = { claim: claim.id, keyId, sites, replaced }
      audit.append({ atMs: now, actor: `gateway ${gateway}`, action: 'gateway.enrolled', subject: gateway, detail })
      return ok({ gateway, keyId })
    })
  }

  /** Mints a service token for a gateway that proves its key now.
   *  @returns `gateway-unknown` | `gateway-revoked` | `bad-signature` | `expired` | `replayed` */
  async token(
    name: string,
    proof: { readonly keyId: string; readonly challenge: string; readonly signature: string },
  ): Promise<Result<MintedToken, ContractError>> {
    const { store, tokens, clock, challenges } = this.#parts
    const now = clock.wallMs()
    const gateway = store.gateways.byName(name)
    if (gateway === undefined || gateway.publicKey === null || gateway.keyId !== proof.keyId) {
      return refuse('gateway-unknown', `${name} has no such key`)
    }
    const { challenge, signature, keyId } = proof
    const message = gatewayTokenMessage(name, keyId, challenge)
    const proven = provenKey(challenges, challenge, message, signature, gateway.publicKey, now)
    if (!proven.ok) return proven
    if (gateway.revokedMs !== null) return refuse('gateway-revoked', `gateway ${name} was revoked`)
    const spent = challenges.spend(challenge, now)
    if (!spent.ok) return spent
    const minted = await tokens.mintService(name, 'gateway', TOKEN_TTL_MS, keyId)
    const { jti, issuedMs, expiresMs } = minted
    store.tokens.add({ jti, kind: 'gateway', subject: name, issuedMs, expiresMs })
    return ok(minted)
  }

  /** Lets a gateway be known by a token alone, as gateways were before they had keys. One that has a key goes on with it.
   *  @param sites undefined: those that it has
   *  @returns `conflict` when it has a key or was revoked; `invalid-request` when it has no sites */
  admitByToken(name: string, sites: readonly string[] | undefined, by: string): Result<void, ContractError> {
    const { store, clock } = this.#parts
    const known = store.gateways.byName(name)
    if (known !== undefined && known.keyId !== null) {
      return refuse('conflict', `${name} has a key, and makes its tokens with it: it needs none from here`)
    }
    if (known?.state === 'revoked') {
      return refuse('conflict', `${name} was revoked: "kinglet gateway claim" enrols it anew`)
    }
    const enrolled = known !== undefined && known.state !== 'unenrolled'
    if (sites === undefined) {
      if (enrolled) return ok(undefined)
      return refuse('invalid-request', `${name} is not enrolled: say the sites that it may speak for`)
    }
    // Minting once more changes nothing: the tokens that it has stay good.
    if (enrolled && [...new Set(sites)].sort().join() === known.sites.join()) return ok(undefined)
    const now = clock.wallMs()
    store.atomically(() => {
      store.gateways.enrol(name, sites, null, now)
      const detail = { sites, keyId: null }
      store.audit.append({ atMs: now, actor: by, action: 'gateway.enrolled', subject: name, detail })
    })
    return ok(undefined)
  }

  /** Whether the gateway of a verified token may speak still, and by this token.
   *  @returns `gateway-unknown` | `gateway-revoked` */
  check({
    subject,
    issuedMs,
    keyId,
  }: Pick<ServiceToken, 'subject' | 'issuedMs' | 'keyId'>): Result<void, ContractError> {
    const gateway = this.#parts.store.gateways.byName(subject)
    if (gateway === undefined || gateway.enrolledMs === null) {
      return refuse(
        'gateway-unknown',
        `gateway ${subject} is not enrolled: an operator enrols it with "kinglet gateway claim"`,
      )
    }
    if (gateway.revokedMs !== null) return refuse('gateway-revoked', `gateway ${subject} was revoked`)
    if ((keyId ?? null) !== gateway.keyId || issuedMs < gateway.tokensSinceMs) {
      return refuse('gateway-unknown', `gateway ${subject} was enrolled anew since this token was made`)
    }
    return ok(undefined)
  }

  /** Ends a gateway's key and tokens. What it has said stays evidence: `quarantine` takes it out.
   *  @returns `not-found` */
  revoke(name: string, reason: string, by: string): Result<GatewayRecord, ContractError> {
    const { store, clock } = this.#parts
    return this.#change(name, by, 'gateway.revoked', reason, () => {
      store.identities.endClaims('gateway', name, clock.wallMs())
      return store.gateways.revoke(name, reason, clock.wallMs())
    })
  }

  /** Takes all that a gateway has said, and will say, out of the evidence: verdicts, reports, aggregates, and what its devices have not
   *  signed. Its rows are kept, and taken further, so that `release` brings them back. Its devices count in no comparison, neither as
   *  healthy nor as silent. Twice is once.
   *  @param by an operator, or who found it out
   *  @returns `not-found` */
  quarantine(name: string, reason: string, by: string): Result<GatewayRecord, ContractError> {
    const { store, clock } = this.#parts
    return this.#change(name, by, 'gateway.quarantined', reason, () => {
      const now = clock.wallMs()
      const changed = store.gateways.quarantine(name, reason, now)
      const numbers = { sites: store.gateways.byName(name)?.sites.length ?? 0 }
      if (changed) {
        store.alerts.raise({ code: 'gateway-quarantined', metric: name, model: '', sinceMs: now, ratio: 0, numbers })
      }
      return changed
    })
  }

  /** Ends a quarantine.
   *  @returns `not-found` */
  release(name: string, reason: string, by: string): Result<GatewayRecord, ContractError> {
    const { store, clock } = this.#parts
    return this.#change(name, by, 'gateway.released', reason, () => {
      const alert = store.alerts.open('gateway-quarantined', name, '')
      if (alert !== undefined) store.alerts.resolve(alert.id, clock.wallMs())
      return store.gateways.release(name)
    })
  }

  #change(
    name: string,
    by: string,
    action: string,
    reason: string,
    act: () => boolean,
  ): Result<GatewayRecord, ContractError> {
    const { store, clock } = this.#parts
    if (store.gateways.byName(name) === undefined) return refuse('not-found', `no gateway "${name}"`)
    store.atomically(() => {
      if (act()) store.audit.append({ atMs: clock.wallMs(), actor: by, action, subject: name, detail: { reason } })
    })
    return ok(present(store.gateways.byName(name), 'the gateway just changed'))
  }
}

/** Tokens of gateways are good while their gateway is. */
export const checkedTokens = (tokens: TokenIssuer, gateways: Pick<GatewayIdentities, 'check'>): TokenIssuer => ({
  ...tokens,
  // It changes.
  get kid() {
    return tokens.kid
  },
  async verifyService(token) {
    const verified = await tokens.verifyService(token)
    if (!verified.ok || verified.value.role !== 'gateway') return verified
    const checked = gateways.check(verified.value)
    return checked.ok ? verified : checked
  },
})
