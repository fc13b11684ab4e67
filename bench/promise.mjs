/** Promises checked in this run; the exit status tells whether one is broken. */
const checked = []

/**
 * @param {string} name
 * @param {number} figure
 * @param {number} limit
 * @param {string} unit
 */
export function promise(name, figure, limit, unit) {
  const kept = figure <= limit
  checked.push(kept)
  const verdict = kept ? 'kept  ' : 'BROKEN'
  console.log(
    `  ${verdict} ${name}: ${figure.toFixed(2)} ${unit}, promised at most ${limit} ${unit}`,
  )
}

export const allKept = () => checked.every(Boolean)
