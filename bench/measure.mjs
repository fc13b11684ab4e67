import { performance } from 'node:perf_hooks'

/**
 * Runs every side in turn, A B C A B C, so that a drift of the machine falls on all of them alike.
 *
 * @param {{ name: string, once: () => Promise<void | number> }[]} sides `once` may answer its own milliseconds
 * @param {{ rounds: number, warmup?: number }} options
 * @returns {Promise<Map<string, { median: number, min: number, max: number }>>} milliseconds
 */
export async function alternate(sides, { rounds, warmup = 2 }) {
  const times = new Map(sides.map((side) => [side.name, []]))
  for (let round = -warmup; round < rounds; round++) {
    for (const side of sides) {
      const start = performance.now()
      const own = await side.once()
      const took = own ?? performance.now() - start
      if (round >= 0) times.get(side.name).push(took)
    }
  }
  return new Map([...times].map(([name, values]) => [name, summary(values)]))
}

/** @param {number[]} values */
export function summary(values) {
  const sorted = values.toSorted((a, b) => a - b)
  return {
    median: sorted[Math.floor(sorted.length / 2)],
    min: sorted[0],
    max: sorted.at(-1),
  }
}

/**
 * Prints one table: a row a side, its ratio against the first.
 *
 * @param {string} title
 * @param {Map<string, { median: number, min: number, max: number }>} results
 */
export function print(title, results) {
  const base = [...results.values()][0].median
  console.log(`\n${title}`)
  for (const [name, { median, min, max }] of results) {
    const row = [median, min, max].map((value) => value.toFixed(2).padStart(10)).join(' ')
    console.log(`  ${name.padEnd(30)} ${row} ms   ${(median / base).toFixed(2)}x`)
  }
}
