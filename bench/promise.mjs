/** What has been checked in this run; the exit status tells whether one is not met. */
export const promises = []

/**
 * @param {string} name
 * @param {number} figure
 * @param {number} limit
 * @param {string} unit
 */
export function promise(name, figure, limit, unit) {
  const kept = figure <= limit
  const text = `${figure.toFixed(2)} ${unit}, promised at most ${limit}`
  promises.push({ name, kept, text })
  console.log(`  ${kept ? 'kept   ' : 'NOT MET'} ${name}: ${text}`)
}
