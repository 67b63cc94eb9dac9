import { describe, expect, it, vi } from 'vitest'
import { ProgressLine, timeLeft } from '../../../cli/progress-line.ts'

describe('a line of progress', () => {
  it('says what is left at the pace so far, in seconds and then in minutes', () => {
    expect(timeLeft(0.5, 10_000)).toBe('10 s left')
    expect(timeLeft(0.25, 10_000)).toBe('30 s left')
    expect(timeLeft(0.01, 1_500)).toBe('3 min left')
    expect(timeLeft(1, 10_000)).toBe('0 s left')
  })

  it('says it after some seconds, where there is a clock and somebody looks', () => {
    const written: string[] = []
    const write = vi.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0)
    const { isTTY } = process.stderr
    try {
      process.stderr.isTTY = true
      let nowMs = 7_000
      const line = new ProgressLine('a patch', { monotonicMs: () => nowMs })
      line.show(0)
      nowMs += 1_000
      line.show(0.1)
      nowMs += 9_000
      line.show(0.5)
      new ProgressLine('another').show(0.5)
      process.stderr.isTTY = false
      line.show(0.6)
    } finally {
      process.stderr.isTTY = isTTY
      write.mockRestore()
    }
    const lines = written.map((text) => text.slice(1).replace('\x1b[K', ''))
    expect(lines).toEqual(['a patch: 0 %', 'a patch: 10 %', 'a patch: 50 %, 10 s left', 'another: 50 %'])
  })
})
