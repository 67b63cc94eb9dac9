import { systemClock } from '../cli/clock-system.ts'

export const rest = (ms: number): Promise<void> => new Promise((resolve) => systemClock.after(ms, resolve))

/** @param share of the times that are below; 1: the longest */
export function quantile(times: readonly number[], share: number): number {
  const sorted = [...times].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}
