/** Four characters at a place; shorter at the end of the file. */
const text = (bytes: Uint8Array, at: number, count = 4): string =>
  String.fromCharCode(...bytes.subarray(at, Math.min(bytes.length, at + count)))

/** First bytes of the formats that people take for a WAV file. */
const MAGICS: readonly (readonly [magic: string, name: string])[] = [
  ['fLaC', 'a FLAC file'],
  ['OggS', 'an Ogg file (Vorbis or Opus)'],
  ['ID3', 'an MP3 file'],
  ['caff', 'a CAF file'],
  ['.snd', 'an AU file'],
  ['#!AMR', 'an AMR file'],
  ['ADIF', 'an AAC file'],
  ['wvpk', 'a WavPack file'],
  ['MAC ', "a Monkey's Audio file"],
  ['RIFX', 'a RIFX file (a WAV with the bytes of its numbers turned round)'],
  ['riff\x2e\x91\xcf\x11', 'a Wave64 file'],
  ['\x1a\x45\xdf\xa3', 'a Matroska or WebM file'],
  ['\x30\x26\xb2\x75', 'a Windows Media file'],
]

/** Names a sound file that is no WAV.
 *  @param bytes beginning of the file, of any length
 *  @returns `a FLAC file` and the like; undefined for what is none that is known */
export const foreignAudio = (bytes: Uint8Array): string | undefined => {
  const known = MAGICS.find(([magic]) => text(bytes, 0, magic.length) === magic)
  if (known !== undefined) return known[1]
  const first = text(bytes, 0)
  const kind = text(bytes, 8)
  if (first === 'FORM' && (kind === 'AIFF' || kind === 'AIFC')) return 'an AIFF file'
  if (first === 'RIFF' && kind === 'AVI ') return 'an AVI film'
  if (text(bytes, 4) === 'ftyp') return 'an MP4 file (M4A, AAC)'
  return elementaryStream(bytes)
}

/** MPEG audio without a file around it begins with eleven ones and a header in which some values are reserved.
 *  @see ISO/IEC 11172-3 2.4.2.3 and, for ADTS, ISO/IEC 13818-7 6.2 */
const elementaryStream = (bytes: Uint8Array): string | undefined => {
  const [sync = 0, second = 0, third = 0] = bytes
  if (sync !== 0xff || second < 0xe0) return undefined
  const layer = (second >> 1) & 3
  if (layer === 0) return second >= 0xf0 && ((third >> 2) & 15) < 13 ? 'an AAC file' : undefined
  const isReserved = ((second >> 3) & 3) === 1 || third >> 4 === 15 || ((third >> 2) & 3) === 3
  return isReserved ? undefined : `an MP${4 - layer} file`
}
