/** The few special functions the gates need, accurate in the tails, where `log(1 - p)` of a library's plain `p` is useless.
 *  Own code: the packages that have them (`@stdlib/...`) bring some forty transitive packages for a hundred lines.
 *  Checked in `test/unit/cloud/rollout/normal-mixture.test.ts` against values computed with 50 digits.
 */

const LN_SQRT_2PI = 0.5 * Math.log(2 * Math.PI)
/** chosen: every fraction below converges in fewer than 200 terms on its domain; at the bound the last value is returned */
const TERMS_MAX = 500
const TINY = 1e-300

/** Upper tail 1 - Φ(x) for x >= 2 as exp(-x²/2) × this, by the Laplace continued fraction (Lentz's method).
 *  @see NIST DLMF 7.9.2
 */
function logUpperTail(x: number): number {
  // Q(x) = φ(x) / (x + 1/(x + 2/(x + 3/(x + …)))), evaluated backward: 200 terms are enough from x = 2 on.
  let fraction = x
  for (let k = 200; k >= 1; k--) fraction = x + k / fraction
  return -0.5 * x * x - LN_SQRT_2PI - Math.log(fraction)
}

/** Φ(x) - ½ for |x| < 2 by its everywhere-convergent series. @see Abramowitz & Stegun 26.2.11 */
function centralMass(x: number): number {
  let term = x
  let sum = x
  for (let n = 1; n < TERMS_MAX; n++) {
    term *= (x * x) / (2 * n + 1)
    sum += term
    if (Math.abs(term) < 1e-17 * Math.abs(sum)) break
  }
  return sum * Math.exp(-0.5 * x * x - LN_SQRT_2PI)
}

/** ln Φ(x), the logarithm of the standard normal distribution function, for any finite x without underflow. */
export function logNormalCdf(x: number): number {
  if (x <= -2) return logUpperTail(-x)
  if (x >= 2) return Math.log1p(-Math.exp(logUpperTail(x)))
  return Math.log(0.5 + centralMass(x))
}

/** Lanczos coefficients, g = 7, n = 9: relative error below 1e-14 for x > 0.
 *  @see P. Godfrey, "A note on the computation of the convergent Lanczos complex Gamma approximation", 2001
 */
const LANCZOS = [
  0.9999999999998099, 676.5203681218851, -1259.1392167224028, 771.3234287776531, -176.6150291621406, 12.507343278686905,
  -0.13857109526572012, 0.000009984369578019572, 1.5056327351493116e-7,
] as const

/** ln Γ(x) for x >= ½ (all that counts and their priors need). */
function logGamma(x: number): number {
  const shifted = x - 1
  let sum: number = LANCZOS[0]
  for (let i = 1; i < LANCZOS.length; i++) sum += LANCZOS[i]! / (shifted + i)
  const t = shifted + 7.5
  return LN_SQRT_2PI + (shifted + 0.5) * Math.log(t) - t + Math.log(sum)
}

/** ln B(a, b), a, b >= ½. */
export const logBeta = (a: number, b: number): number => logGamma(a) + logGamma(b) - logGamma(a + b)

/** Continued fraction of the incomplete beta function by the modified Lentz method.
 *  @see NIST DLMF 8.17.22; Numerical Recipes, 3rd ed., section 6.4
 */
function betaFraction(x: number, a: number, b: number): number {
  const guard = (value: number): number => (Math.abs(value) < TINY ? TINY : value)
  let c = 1
  let d = 1 / guard(1 - ((a + b) * x) / (a + 1))
  let result = d
  for (let m = 1; m < TERMS_MAX; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
    d = 1 / guard(1 + even * d)
    c = guard(1 + even / c)
    result *= d * c
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))
    d = 1 / guard(1 + odd * d)
    c = guard(1 + odd / c)
    result *= d * c
    if (Math.abs(d * c - 1) < 1e-15) break
  }
  return result
}

/** ln of the upper regularised incomplete beta function 1 - I_x(a, b), without cancellation.
 *  @param x in (0, 1)
 */
export function logBetaUpper(x: number, a: number, b: number): number {
  const front = a * Math.log(x) + b * Math.log1p(-x) - logBeta(a, b)
  // The fraction converges fast on the near side of the mean; on the other side use I_x(a, b) = 1 - I_{1-x}(b, a).
  if (x < (a + 1) / (a + b + 2)) return Math.log1p(-Math.exp(front + Math.log(betaFraction(x, a, b)) - Math.log(a)))
  return front + Math.log(betaFraction(1 - x, b, a)) - Math.log(b)
}
