/** The shapes of the kernel's files. Pure. */

/** `key value` lines, as in `memory.stat`. What is no number is left out. */
export function flatKeyed(text: string): Map<string, number> {
  const values = new Map<string, number>()
  for (const line of text.split('\n')) {
    const [key = '', value = ''] = line.split(' ')
    if (/^\d+$/.test(value)) values.set(key, Number(value))
  }
  return values
}

/** `key a=1 b=2` lines, as in `io.stat`, summed over their keys. */
export function nestedKeyedSums(text: string): Map<string, number> {
  const sums = new Map<string, number>()
  for (const [, key = '', value] of text.matchAll(/ ([^ =\n]+)=(\d+)/g)) {
    sums.set(key, (sums.get(key) ?? 0) + Number(value))
  }
  return sums
}

/** One number, or undefined for `max` and for the numbers near 2^63 by which cgroup v1 says the same. */
export function limitOf(text: string): number | undefined {
  const word = text.trim()
  if (!/^\d+$/.test(word)) return undefined
  const limit = Number(word)
  return limit >= 2 ** 62 ? undefined : limit
}

export function numberOf(text: string): number {
  return limitOf(text) ?? 0
}
