import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const src = fileURLToPath(new URL('../helper/src', import.meta.url))
const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.rs'))
  .map((file) => ({ file, lines: readFileSync(`${src}/${file}`, 'utf8').split('\n') }))

describe('unsafe Rust', () => {
  test('occurs only in helper/src/sys', () => {
    expect(
      places()
        .filter(({ file }) => !file.startsWith('sys/'))
        .map(name),
    ).toEqual([])
  })

  test('says each time why it is sound', () => {
    expect(
      places()
        .filter(({ lines, index }) => !hasReason(lines, index))
        .map(name),
    ).toEqual([])
  })
})

/** Every line of code with the word: `unsafe {`, `unsafe fn`, `unsafe impl`, `unsafe extern`. */
function places() {
  return files.flatMap(({ file, lines }) =>
    lines.flatMap((line, index) =>
      /\bunsafe\b(?!_)/.test(code(line)) ? [{ file, lines, index }] : [],
    ),
  )
}

/** Without strings and comments. */
function code(line: string): string {
  return line.replace(/"(?:[^"\\]|\\.)*"/g, '""').replace(/\/\/.*/, '')
}

/**
 * A `// SAFETY:` comment stands right above the statement with the block, or a `# Safety` section in the documentation of
 * an unsafe function. Attributes and the first lines of a longer statement may lie between.
 */
function hasReason(lines: string[], index: number): boolean {
  for (let above = index; above >= Math.max(0, index - 12); above--) {
    const line = lines[above]?.trim() ?? ''
    if (/SAFETY:|# Safety/.test(line)) return true
    const ended = above < index && line !== '' && !line.startsWith('//') && /[;}]$/.test(line)
    if (ended) return false
  }
  return false
}

function name({ file, index }: { file: string; index: number }): string {
  return `helper/src/${file}:${index + 1}`
}
