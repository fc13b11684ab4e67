import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { compile, type Example } from './support/compile.ts'
import { root } from './support/repository.ts'

// The documentation's examples are programs: each is complete, and is what the types say now.

test('the examples of the documentation compile', () => {
  const examples = sources().flatMap(examplesOf)
  expect(examples.length).toBeGreaterThan(20)
  expect(compile(examples)).toEqual([])
}, 60_000)

test('a wrong example is noticed', () => {
  const path = join(root, 'src/example.ts')
  const text = "import { Engine } from 'keelson'\nawait Engine.opne()\n"
  expect(compile([{ path, line: 1, text }])).toEqual([expect.stringMatching(/opne/)])
}, 60_000)

function sources(): string[] {
  return readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(root, 'src', name))
}

function examplesOf(source: string): Example[] {
  const lines = readFileSync(source, 'utf8').split('\n')
  const examples: Example[] = []
  let inExample = false
  let open: Example | undefined
  for (const [index, line] of lines.entries()) {
    const text = line.replace(/^\s*\* ?/, '')
    if (open !== undefined) {
      if (text.startsWith('```')) open = undefined
      else open.text += `${text}\n`
    } else if (text.startsWith('@')) inExample = text.startsWith('@example')
    else if (line.includes('*/')) inExample = false
    else if (inExample && text.startsWith('```ts')) {
      open = {
        path: source.replace(/\.ts$/, `.example-${index}.ts`),
        line: index + 2,
        text: '',
      }
      examples.push(open)
    }
  }
  return examples
}
