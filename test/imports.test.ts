import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'

const src = fileURLToPath(new URL('../src', import.meta.url))

/** `docs/decisions/0001-folder-order.md`, lowest first. What shares a line does not import each other. */
const ORDER = [
  ['errors.ts'],
  ['util/'],
  ['oci/'],
  ['runtime/'],
  ['registry/'],
  ['store/'],
  ['snapshot/'],
  ['image/'],
  ['security/', 'network/', 'volume/'],
  ['container/'],
  ['events/'],
  ['/'], // engine.ts, index.ts
]

/** A front end beside the engine: it may use these and nothing else. */
const FRONT_ENDS: Record<string, string[]> = {
  'registry-server/': ['errors.ts', 'util/', 'oci/', 'registry-server/'],
}

/** What `import 'keelson'` loads that is not Keelson: the rest waits for the first engine. */
const WITH_IMPORT = [
  'node:crypto',
  'node:events',
  'node:fs/promises',
  'node:net',
  'node:os',
  'node:path',
  'node:timers/promises',
  'node:util',
]

/** What an engine loads only when it asks a registry, packs a layer, waits for a server. */
const LATER = new Set([
  'got',
  'p-queue',
  'tar-stream',
  'node:http',
  'node:https',
  'node:tls',
  'node:zlib',
])

interface Import {
  /** A path below `src/`, or the name of a package. */
  to: string
  /** Loaded when the importing file is: neither only types nor `import()`. */
  eager: boolean
}

const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .sort()
const imports = new Map(files.map((file) => [file, importsOf(file)]))
const edges = [...imports].flatMap(([from, list]) =>
  list.filter(({ to }) => imports.has(to)).map(({ to }) => ({ from, to })),
)

describe('imports of src/', () => {
  test('every folder has its place in the order', () => {
    const known = new Set([...ORDER.flat(), ...Object.keys(FRONT_ENDS)])
    expect([...new Set(files.map(place))].filter((name) => !known.has(name))).toEqual([])
  })

  test('go only downward', () => {
    const upward = edges.filter(({ from, to }) => !allowed(place(from), place(to)))
    expect(upward.map(({ from, to }) => `${from} imports ${to}`)).toEqual([])
  })

  test('have no circle', () => {
    expect(circles()).toEqual([])
  })

  test('load little when keelson is imported', () => {
    expect(foreign('index.ts')).toEqual(WITH_IMPORT)
  })

  test('load no HTTP, TLS, compression and archives with the first engine', () => {
    const loaded = foreign('engine-core.ts')
    expect(loaded).toContain('node:child_process')
    expect(loaded.filter((name) => LATER.has(name))).toEqual([])
  })
})

/** The entry of the order that a file belongs to. */
function place(file: string): string {
  if (file === 'errors.ts') return file
  const slash = file.indexOf('/')
  return slash === -1 ? '/' : file.slice(0, slash + 1)
}

function allowed(from: string, to: string): boolean {
  if (from === to) return true
  const frontEnd = FRONT_ENDS[from]
  if (frontEnd !== undefined) return frontEnd.includes(to)
  return rank(to) < rank(from)
}

/** Front ends rank above all: nobody imports them. */
function rank(name: string): number {
  const index = ORDER.findIndex((level) => level.includes(name))
  return index === -1 ? ORDER.length : index
}

/** Each circle once, as the files on it. */
function circles(): string[] {
  const found: string[] = []
  const done = new Set<string>()
  const visit = (file: string, path: string[]): void => {
    const start = path.indexOf(file)
    if (start !== -1) {
      found.push([...path.slice(start), file].join(' -> '))
      return
    }
    if (done.has(file)) return
    for (const { to } of imports.get(file) ?? []) visit(to, [...path, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
  return found
}

/** Node's modules and packages that are loaded together with a file. */
function foreign(file: string): string[] {
  return [...reach(file)].filter((name) => !imports.has(name)).sort()
}

/** Everything that is loaded together with a file. */
function reach(file: string, seen = new Set<string>()): Set<string> {
  for (const { to, eager } of imports.get(file) ?? []) {
    if (!eager || seen.has(to)) continue
    seen.add(to)
    reach(to, seen)
  }
  return seen
}

function importsOf(file: string): Import[] {
  const path = join(src, file)
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest)
  const found: Import[] = []
  const add = (specifier: ts.Expression | undefined, eager: boolean): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return
    const { text } = specifier
    const to = text.startsWith('.') ? relative(src, join(dirname(path), text)) : text
    found.push({ to, eager })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      add(node.moduleSpecifier, node.importClause?.phaseModifier !== ts.SyntaxKind.TypeKeyword)
    } else if (ts.isExportDeclaration(node)) {
      add(node.moduleSpecifier, !node.isTypeOnly)
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal, false)
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], false)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}
