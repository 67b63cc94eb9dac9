import { logBeta, logBetaUpper } from './special-functions.ts'

/** Log e-value of k failures in n trials against p <= p0, with a uniform prior on (p0, 1]. Valid at every look; for small
 *  proportions, where a log ratio has no power (install failures 2 % → 8 %: this .61, log ratio 0).
 *
 *  Against a service level use k of n installs and p0 = the level. Two arms: k canary failures among n failures in all,
 *  p0 = n_c / (n_c + n_0).
 *  @param k failures, 0 … n
 *  @param p0 in (0, 1)
 */
export function exactLogE(k: number, n: number, p0: number): number {
  if (n === 0) return 0
  return (
    logBeta(k + 1, n - k + 1) +
    logBetaUpper(p0, k + 1, n - k + 1) -
    Math.log1p(-p0) -
    k * Math.log(p0) -
    (n - k) * Math.log1p(-p0)
  )
}
