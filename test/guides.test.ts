import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { compile, type Example } from './support/compile.ts'
import { root } from './support/repository.ts'

// A block of a guide is an example that the tests run, word for word, or a part of a program, which is at least compiled.

const FOLDER = join(root, 'docs/guides')

/** What parts of programs take for granted. */
const GIVEN = `
  import type { Container as C, Engine as E, Image as I } from 'keelson'
  declare global {
    const engine: E
    const container: C
    const image: I
    const [source, root, runRoot, layout, cert, key]: [string, string, string, string, string, string]
  }
`

interface Block extends Example {
  guide: string
  /** The example that it is. */
  file?: string
}

test('guides show the examples as they are run', () => {
  const shown = blocks().filter(({ file }) => file !== undefined)
  for (const { guide, file = '', text } of shown) {
    expect(text, `${guide}: ${file}`).toBe(readFileSync(join(root, file), 'utf8'))
  }
  const examples = readdirSync(join(root, 'examples')).map((name) => `examples/${name}`)
  const linked = readFileSync(join(root, 'README.md'), 'utf8') + allGuides().join('')
  expect(examples.filter((name) => !linked.includes(name))).toEqual([])
})

test('what guides show compiles', () => {
  const given = { path: join(FOLDER, 'given.ts'), line: 1, text: GIVEN }
  const parts = blocks()
  expect(parts.length).toBeGreaterThan(15)
  expect(compile([given, ...parts])).toEqual([])
}, 60_000)

test('every guide is linked from the README', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const missing = guides().filter((name) => !readme.includes(`docs/guides/${name}`))
  expect(missing).toEqual([])
})

function guides(): string[] {
  return readdirSync(FOLDER).filter((name) => name.endsWith('.md'))
}

function allGuides(): string[] {
  return guides().map((name) => readFileSync(join(FOLDER, name), 'utf8'))
}

function blocks(): Block[] {
  return guides().flatMap((guide) => {
    const lines = readFileSync(join(FOLDER, guide), 'utf8').split('\n')
    const found: Block[] = []
    let open: Block | undefined
    for (const [index, line] of lines.entries()) {
      if (open === undefined && line.startsWith('```ts')) {
        const file = /file=(\S+)/.exec(line)?.[1]
        const path = join(FOLDER, guide.replace(/\.md$/, `.example-${index}.ts`))
        open = { guide, path, line: index + 2, text: '', ...(file !== undefined && { file }) }
      } else if (open !== undefined && line === '```') {
        found.push(open)
        open = undefined
      } else if (open !== undefined) open.text += `${line}\n`
    }
    return found
  })
}
