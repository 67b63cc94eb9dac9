/** Bounds between which a figure lies with 95 % confidence. */
export interface Interval {
  readonly low: number
  readonly high: number
}

/** Two-sided 95 % of a normal distribution. */
const Z = 1.959_963_985
const TAIL = 0.025

/** Of a share, from `count` of `total`. Holds at 0 and at all, where the usual interval has no width.
 *  @see E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927 */
export function wilson(count: number, total: number): Interval {
  if (total === 0) return { low: 0, high: 1 }
  const share = count / total
  const spread = Z ** 2 / total
  const centre = share + spread / 2
  const half = Z * Math.sqrt((share * (1 - share)) / total + spread / (4 * total))
  return {
    low: count === 0 ? 0 : (centre - half) / (1 + spread),
    high: count === total ? 1 : (centre + half) / (1 + spread),
  }
}

/** Of the mean of what was counted once, exact: the least mean of which as many or more are no surprise, the greatest of which as few
 *  or fewer are none.
 *  @see F. Garwood, "Fiducial Limits for the Poisson Distribution", 1936 */
export function poisson(count: number): Interval {
  // A tail of a hundred times the root is beyond all doubt.
  const far = count + 10 * Math.sqrt(count + 1) + 10
  return {
    low: count === 0 ? 0 : bisect(0, count, (mean) => tailProbability(count, mean, 1) < TAIL),
    high: bisect(count, far, (mean) => tailProbability(count, mean, -1) > TAIL),
  }
}

/** @param isBelow whether a value lies below the one that is looked for; true up to it and false from it on */
function bisect(from: number, to: number, isBelow: (value: number) => boolean): number {
  let [low, high] = [from, to]
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2
    if (isBelow(middle)) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/** Probability of `count` or more (step 1), or of `count` or fewer (step -1), under a mean on the other side of it: the terms fall from the
 *  first on. */
function tailProbability(count: number, mean: number, step: 1 | -1): number {
  let term = Math.exp(count * Math.log(mean) - mean - logFactorial(count))
  let sum = 0
  for (let k = count; k >= 0 && term > sum * 1e-16; k += step) {
    sum += term
    term *= step > 0 ? mean / (k + 1) : k / mean
  }
  return sum
}

function logFactorial(n: number): number {
  let sum = 0
  for (let k = 2; k <= n; k++) sum += Math.log(k)
  return sum
}
