import { performance } from 'node:perf_hooks'

const terminal = process.stdout.isTTY
const paint = (code) => (text) => (terminal ? `\u001b[${code}m${text}\u001b[0m` : text)
export const bold = paint('1')
export const dim = paint('2')
const green = paint('32')

/**
 * One step of the story: says what is being done, does it, says how long it took.
 *
 * @template T
 * @param {string} title
 * @param {(note: (text: string) => void) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(title, work) {
  const start = performance.now()
  const notes = []
  const note = (text) => {
    if (terminal) process.stdout.write(`\r\u001b[K  ${dim('…')} ${title} ${dim(text)}`)
  }
  note('')
  const value = await work((text, keep = false) => (keep ? notes.push(text) : note(text)))
  const took = `${(performance.now() - start).toFixed(1)} ms`
  if (terminal) process.stdout.write('\r\u001b[K')
  console.log(`  ${green('✓')} ${title} ${dim(took)}`)
  for (const text of notes) console.log(dim(`      ${text}`))
  return value
}

/** What a container wrote, set off from what we say. */
export function quote(text) {
  for (const line of text.trimEnd().split('\n')) console.log(`    ${dim('│')} ${line}`)
}
