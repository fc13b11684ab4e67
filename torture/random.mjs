/**
 * Numbers that a seed decides (mulberry32), so that a failed round can be asked for again.
 *
 * @param {number} seed
 * @returns {{ below: (n: number) => number, pick: <T>(from: readonly T[]) => T }}
 */
export function random(seed) {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (n) => Math.floor(next() * n)
  return { below, pick: (from) => from[below(from.length)] }
}
