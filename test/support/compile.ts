import { join, relative } from 'node:path'
import ts from 'typescript'
import { root } from './repository.ts'

/** A program that stands in the documentation. */
export interface Example {
  /** Where it would lie, so that its imports mean what they mean in the file it is from. */
  path: string
  line: number
  text: string
}

/** What the compiler complains of, with the place in the source. */
export function compile(examples: readonly Example[]): string[] {
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
