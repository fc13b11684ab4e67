import { performance } from 'node:perf_hooks'

/**
 * Runs every side in turn, A B C A B C, so that a drift of the machine falls on all of them alike.
 *
 * @param {{ name: string, once: () => Promise<number | number[]> }[]} sides `once` answers its own milliseconds, of one time or several
 * @param {{ rounds: number, warmup?: number }} options
 * @returns {Promise<Map<string, { median: number, tenth: number, min: number }>>} milliseconds
 */
export async function alternate(sides, { rounds, warmup = 2 }) {
  const times = new Map(sides.map((side) => [side.name, []]))
  for (let round = -warmup; round < rounds; round++) {
    for (const side of sides) {
      const took = await side.once()
      if (round >= 0) times.get(side.name).push(...(Array.isArray(took) ? took : [took]))
    }
  }
  return new Map([...times].map(([name, values]) => [name, summary(values)]))
}

/** Milliseconds that something takes. */
export async function timed(work) {
  const start = performance.now()
  await work()
  return performance.now() - start
}

/** @param {number[]} values */
export function summary(values) {
  return { median: quantile(values, 0.5), tenth: quantile(values, 0.1), min: Math.min(...values) }
}

function quantile(values, part) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * part)]
}

/**
 * Prints one table: a row a side, its ratio against the first.
 *
 * @param {string} title
 * @param {Map<string, { median: number, tenth: number, min: number }>} results
 */
export function print(title, results) {
  const base = [...results.values()][0].median
  const head = ['median', 'tenth', 'least'].map((word) => word.padStart(10)).join(' ')
  console.log(`\n${title}\n${' '.repeat(32)} ${head}`)
  for (const [name, { median, tenth, min }] of results) {
    const row = [median, tenth, min].map((value) => value.toFixed(2).padStart(10)).join(' ')
    console.log(`  ${name.padEnd(30)} ${row} ms ${(median / base).toFixed(2).padStart(6)}x`)
  }
}
