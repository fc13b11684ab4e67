import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { root } from './support/repository.ts'

// Files move; what speaks of them must come along.

const FOLDERS = 'bench|docs|examples|helper|npm|scripts|src|test|torture'

/** A path from the top of the repository, wherever it is spoken of; not a part of a longer one. */
const PATH = new RegExp(String.raw`(?<![\w./@-])(?:${FOLDERS})/[\w./-]*\w(?![\w<*{$])/?`, 'g')

const files = [
  ...readdirSync(root),
  ...['bench', 'docs', 'examples', 'helper/src', 'helper/tests', 'src', 'torture'].flatMap(
    (folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) =>
        join(folder, file),
      ),
  ),
]
const pages = files.filter((file) => file.endsWith('.md'))

describe('what is said of the repository', () => {
  test('every file that a page, or a comment in the code, speaks of is there', () => {
    const code = files.filter((file) => /\.(?:ts|mjs|rs)$/.test(file))
    expect([...pages.flatMap(prose), ...code.flatMap(comments)].flatMap(missing)).toEqual([])
  })

  test('every link of a page leads somewhere', () => {
    const targets = pages.flatMap((page) => {
      const links = [...read(page).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
      return links.map(([, target = '']) => ({ page, target }))
    })
    const local = targets.filter(({ target }) => !/^[a-z]+:/.test(target))
    expect(local.length).toBeGreaterThan(20)
    const dead = local.filter(({ page, target }) => !existsSync(join(root, dirname(page), target)))
    expect(dead).toEqual([])
  })
})

interface Line {
  file: string
  number: number
  text: string
}

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8')
}

function lines(file: string): Line[] {
  return read(file)
    .split('\n')
    .map((text, index) => ({ file, number: index + 1, text }))
}

/** Not the blocks of code: a program's paths are its own. */
function prose(page: string): Line[] {
  let inBlock = false
  return lines(page).filter(({ text }) => {
    if (text.startsWith('```')) inBlock = !inBlock
    return !inBlock
  })
}

function comments(file: string): Line[] {
  return lines(file).filter(({ text }) => /^\s*(?:\/\/|\/?\*)/.test(text))
}

function missing({ file, number, text }: Line): string[] {
  return [...text.matchAll(PATH)]
    .filter(([path]) => !existsSync(join(root, path)))
    .map(([path]) => `${file}:${number}: ${path}`)
}
