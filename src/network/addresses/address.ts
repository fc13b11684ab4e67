/** IP addresses and prefixes as numbers. Pure. */
import { isIPv4, isIPv6 } from 'node:net'
import { keelsonError } from '../../errors.ts'

export type Family = 4 | 6

export interface Address {
  family: Family
  value: bigint
}

/** A prefix: `address` has no bit set behind `length`. */
export interface Prefix extends Address {
  length: number
}

const BITS = { 4: 32, 6: 128 } as const

/** @returns undefined for what is no address; zones (`%eth0`) are none here */
export function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return { family: 4, value: fromGroups(text.split('.').map(Number), 8n) }
  if (!isIPv6(text) || text.includes('%')) return undefined
  return { family: 6, value: fromGroups(groupsOf(text), 16n) }
}

/** IPv6 as RFC 5952 has it: lower case, the longest run of zeros as `::`. */
export function formatAddress({ family, value }: Address): string {
  if (family === 4) return groups(value, 4, 8n).join('.')
  const words = groups(value, 8, 16n)
  const run = longestZeros(words)
  if (run.length < 2) return hex(words)
  return `${hex(words.slice(0, run.start))}::${hex(words.slice(run.start + run.length))}`
}

/**
 * `192.0.2.0/24`, `2001:db8::/64`.
 *
 * @throws `KEELSON_INVALID_OPTION` naming `option`
 */
export function parsePrefix(text: string, option: string): Prefix {
  const [address = '', length = '', ...more] = text.split('/')
  const parsed = parseAddress(address)
  const bits = Number(length)
  if (!parsed || !/^\d{1,3}$/.test(length) || more.length > 0 || bits > BITS[parsed.family]) {
    throw keelsonError(
      'KEELSON_INVALID_OPTION',
      `The option ${option} holds no prefix: ${JSON.stringify(text)}.`,
      { option, hint: 'Write it as "10.1.2.0/24" or "fd00:1::/64".' },
    )
  }
  const prefix = prefixOf(parsed, bits)
  if (prefix.value !== parsed.value) {
    throw keelsonError(
      'KEELSON_INVALID_OPTION',
      `The option ${option} has bits behind its length: ${text}.`,
      { option, hint: `The network is ${formatPrefix(prefix)}.` },
    )
  }
  return prefix
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix)}/${prefix.length}`
}

/** The prefix of this length that holds the address. */
export function prefixOf({ family, value }: Address, length: number): Prefix {
  const shift = BigInt(BITS[family] - length)
  return { family, value: (value >> shift) << shift, length }
}

export function contains(prefix: Prefix, address: Address): boolean {
  return prefix.family === address.family && prefixOf(address, prefix.length).value === prefix.value
}

export function overlaps(one: Prefix, other: Prefix): boolean {
  return one.length <= other.length ? contains(one, other) : contains(other, one)
}

/** Number of addresses. */
export function sizeOf({ family, length }: Prefix): bigint {
  return 1n << BigInt(BITS[family] - length)
}

/** Its n-th address; 0 is the network's own. */
export function nth({ family, value }: Prefix, n: bigint): Address {
  return { family, value: value + n }
}

function hex(words: number[]): string {
  return words.map((word) => word.toString(16)).join(':')
}

function hexWords(part: string): number[] {
  return part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16))
}

function groupsOf(text: string): number[] {
  // The last 32 bits may be written as IPv4.
  const dotted = /^(.*:)([\d.]+\.[\d.]+)$/.exec(text)
  const plain = dotted ? `${dotted[1]}${dottedWords(dotted[2] ?? '')}` : text
  const [head = '', tail] = plain.split('::')
  if (tail === undefined) return hexWords(head)
  const [before, after] = [hexWords(head), hexWords(tail)]
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
}

function dottedWords(text: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = text.split('.').map(Number)
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
}

function fromGroups(parts: number[], bits: bigint): bigint {
  return parts.reduce((value, part) => (value << bits) | BigInt(part), 0n)
}

function groups(value: bigint, count: number, bits: bigint): number[] {
  const mask = (1n << bits) - 1n
  return Array.from({ length: count }, (_, n) =>
    Number((value >> (bits * BigInt(count - 1 - n))) & mask),
  )
}

function longestZeros(words: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  let start = 0
  for (let n = 0; n <= words.length; n++) {
    if (words[n] === 0) continue
    if (n - start > best.length) best = { start, length: n - start }
    start = n + 1
  }
  return best
}
