import { isIPv6 } from 'node:net'

/** By what strangers share: an IPv4 address, or the /64 of an IPv6 address, since whoever has one of those addresses has all of them. What
 *  comes over IPv4 to an IPv6 listener is the IPv4 address.
 *  @param address of a socket; undefined when it is gone */
export function networkOf(address: string | undefined): string {
  if (address === undefined) return 'unknown'
  if (!isIPv6(address)) return address
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped?.[1] !== undefined) return mapped[1]
  const [head = '', tail] = (address.split('%', 1)[0] ?? '').split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  // The zeros that "::" stands for; a dotted end counts as two groups, and is in none of the first four.
  const zeros = tail === undefined ? [] : new Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0')
  const groups = [...left, ...zeros, ...right].slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16))
  return `${groups.join(':')}::/64`
}
