import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'
import { root } from './support/repository.ts'

// The documentation's examples are programs: each is complete, and is what the types say now.

interface Example {
  /** Where it would lie, so that its imports mean what they mean in the file it is from. */
  path: string
  line: number
  text: string
}

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

/** What the compiler complains of, with the place in the source. */
function compile(examples: Example[]): string[] {
  const byPath = new Map(examples.map((example) => [example.path, example]))
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path))
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  const host = ts.createCompilerHost(options)
  host.fileExists = (path) => byPath.has(path) || ts.sys.fileExists(path)
  host.readFile = (path) => byPath.get(path)?.text ?? ts.sys.readFile(path)
  const program = ts.createProgram([...byPath.keys()], options, host)
  return [...byPath.values()].flatMap((example) => {
    const file = program.getSourceFile(example.path)
    return ts
      .getPreEmitDiagnostics(program, file)
      .map((diagnostic) => complaint(example, diagnostic))
  })
}

function complaint(example: Example, { file, start = 0, messageText }: ts.Diagnostic): string {
  const within = file?.getLineAndCharacterOfPosition(start).line ?? 0
  const source = relative(root, example.path).replace(/\.example-\d+/, '')
  return `${source}:${example.line + within} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
}
