import { describe, expect, it } from 'vitest'
import { AudioNotes } from '../../../cli/audio-notes.ts'

describe('AudioNotes', () => {
  it('says each kind of note once, with the first file', () => {
    const notes = new AudioNotes()
    notes.add('a.wav', ['resampled from 8000 Hz to 16000 Hz'])
    notes.add('b.wav', ['resampled from 44100 Hz to 16000 Hz', 'truncated'])
    notes.add('c.wav', ['resampled from 8000 Hz to 16000 Hz'])
    expect(notes.lines()).toEqual(['a.wav: resampled from 8000 Hz to 16000 Hz (and 2 files more)', 'b.wav: truncated'])
  })
  it('ends somewhere', () => {
    const notes = new AudioNotes()
    notes.add(
      'a.wav',
      Array.from({ length: 30 }, (_, i) => `note ${'x'.repeat(i)}`),
    )
    expect(notes.lines()).toHaveLength(21)
    expect(notes.lines().at(-1)).toBe('… and 10 kinds of notes more')
  })
})
