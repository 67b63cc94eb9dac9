import { pick, type Random } from './random.ts'

// Phonemes in espeak-ng's mnemonics for English (espeak-ng, docs/phonemes.md).
const ONSETS = [
  ...['p', 'b', 't', 'd', 'k', 'g', 'f', 'v', 's', 'z', 'S', 'h', 'm', 'n', 'l', 'r', 'w', 'j', 'tS', 'dZ'],
  ...['st', 'sp', 'sk', 'tr', 'dr', 'kr', 'gr', 'pl', 'bl', 'fl', 'sl', 'pr', 'br', ''],
]
const VOWELS = ['a', 'E', 'I', '0', 'V', 'U', 'i:', 'u:', 'eI', 'aI', 'oU', 'aU', 'O:', '3:']
const CODAS = ['', '', '', 'p', 't', 'k', 'f', 's', 'z', 'S', 'm', 'n', 'N', 'l', 'b', 'd', 'g', 'st', 'ft', 'nt', 'tS']

/** The keywords' own sounds, of both sides of the Atlantic; a word that has one anywhere in it says the keyword. */
const KEYWORD_SOUNDS = ['daUn', 'goU', 'lEft', 'noU', '0f', 'O:f', '0n', 'O:n', 'raIt', 'st0p', 'Vp', 'jEs']

/** A word that is none, one to three syllables long, often a neighbour of a keyword and never one of them.
 *  @returns espeak-ng's phoneme input, such as `[[st'Vt]]` */
export const pseudoWord = (random: Random): string => {
  for (;;) {
    const parts: string[] = []
    const syllables = pick(random, [1, 1, 2, 2, 3])
    for (let n = 0; n < syllables; n += 1) {
      const stress = n === 0 ? "'" : ''
      parts.push(pick(random, ONSETS) + stress + pick(random, VOWELS) + pick(random, CODAS))
    }
    const plain = parts.join('').replaceAll("'", '')
    if (!KEYWORD_SOUNDS.some((sound) => plain.includes(sound))) return `[[${parts.join('')}]]`
  }
}
