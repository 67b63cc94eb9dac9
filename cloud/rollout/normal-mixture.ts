import { logNormalCdf } from './special-functions.ts'

/** Normal-mixture e-processes for a sub-Gaussian sum S with intrinsic time v (here: evidence S and information I of a
 *  log ratio). They stay valid under any number of looks.
 *  @see Howard, Ramdas, McAuliffe, Sekhon, arXiv 1810.08240; reference code `confseq`
 */

/** Mixture precision that makes the one-sided boundary tightest near `vOpt`. Choose before the data, then freeze.
 *  @param alpha in (0, ½)
 */
export function oneSidedRho(vOpt: number, alpha: number): number {
  const l = Math.log(1 / (2 * alpha))
  return vOpt / (2 * l + Math.log(1 + 2 * l))
}

export function twoSidedRho(vOpt: number, alpha: number): number {
  const l = Math.log(1 / alpha)
  return vOpt / (2 * l + Math.log(1 + 2 * l))
}

/** Log e-value against "drift <= 0". At v = 0 (no data) it is 0 for s = 0. */
export function oneSidedLogE(s: number, v: number, rho: number): number {
  return 0.5 * Math.log((4 * rho) / (v + rho)) + halfSquarePlusLogCdf(s / Math.sqrt(v + rho))
}

/** x²/2 + ln Φ(x). Far below zero the two are huge and cancel: there the series of Φ's tail, in which the square is gone before it is
 *  computed. */
function halfSquarePlusLogCdf(x: number): number {
  if (x > -12) return (x * x) / 2 + logNormalCdf(x)
  const y = 1 / (x * x)
  return -Math.log(-x) - 0.5 * Math.log(2 * Math.PI) + Math.log1p(-y + 3 * y * y)
}

export function twoSidedLogE(s: number, v: number, rho: number): number {
  return 0.5 * Math.log(rho / (v + rho)) + (s * s) / (2 * (v + rho))
}

/** The s at which the one-sided log e-value reaches ln(1/alpha). It rises with s and is convex, so Newton's steps from above come down to it. */
export function oneSidedBoundary(v: number, alpha: number, rho: number): number {
  const target = Math.log(1 / alpha)
  // With ln Φ >= ln ½ for s >= 0 the value at this s is above the target.
  let s = Math.sqrt(2 * (v + rho) * (target + Math.log(2) + 0.5 * Math.log((v + rho) / (4 * rho)) + 1))
  const scale = Math.sqrt(v + rho)
  for (let round = 0; round < 50; round++) {
    const x = s / scale
    const slope = (x + Math.exp(-0.5 * x * x - 0.5 * Math.log(2 * Math.PI) - logNormalCdf(x))) / scale
    const step = (oneSidedLogE(s, v, rho) - target) / slope
    s -= step
    if (Math.abs(step) <= 1e-12 * s) break
  }
  return s
}

export function twoSidedBoundary(v: number, alpha: number, rho: number): number {
  return Math.sqrt((v + rho) * (2 * Math.log(1 / alpha) + Math.log((v + rho) / rho)))
}

/** Information at which a log ratio of `delta` is found with 80 % power at level `alpha`: (z* + 0.84)² / delta².
 *  0.84 is the 80 % normal quantile; z* the boundary in standard errors at the optimum (2.77 at .05, 3.35 at .01).
 *  @param delta ln of the smallest ratio that matters, > 0
 */
export function informationForPower(delta: number, alpha: number): number {
  const zStar = oneSidedBoundary(1, alpha, oneSidedRho(1, alpha))
  return ((zStar + 0.84) / delta) ** 2
}
