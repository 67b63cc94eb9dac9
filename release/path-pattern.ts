/** Whether a target path matches a pattern of a delegation: `*` any run and `?` any one character, both within a segment.
 *  @see TUF 1.0.33 section 4.5, PATHPATTERN */
export function matchesPattern(path: string, pattern: string): boolean {
  const segments = path.split('/')
  const patterns = pattern.split('/')
  return segments.length === patterns.length && patterns.every((part, i) => matchesSegment(segments[i] ?? '', part))
}

/** Greedy with one point to return to, so that no pattern takes more than length × length steps. */
function matchesSegment(text: string, pattern: string): boolean {
  let at = 0
  let in_ = 0
  let star = -1
  let resume = 0
  while (at < text.length) {
    if (in_ < pattern.length && (pattern[in_] === '?' || (pattern[in_] === text[at] && pattern[in_] !== '*'))) {
      at++
      in_++
    } else if (in_ < pattern.length && pattern[in_] === '*') {
      star = in_++
      resume = at
    } else if (star >= 0) {
      in_ = star + 1
      at = ++resume
    } else return false
  }
  while (pattern[in_] === '*') in_++
  return in_ === pattern.length
}
