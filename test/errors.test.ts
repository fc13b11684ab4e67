import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ERRORS, KeelsonError, keelsonError, type ErrorCode } from '../src/errors.ts'

const page = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8')

describe('errors', () => {
  it('are all on the page of errors, with the status they have', () => {
    const listed = new Map(
      [...page.matchAll(/^\| `(KEELSON_\w+)` +\| (\d+) /gm)].map(([, code, status]) => [
        code,
        Number(status),
      ]),
    )
    const known = new Map(Object.entries(ERRORS).map(([code, { status }]) => [code, status]))
    expect(listed).toEqual(known)
  })

  it('each say when they come and what to do', () => {
    const rows = [...page.matchAll(/^\| `KEELSON_\w+` .*$/gm)].map(([row]) => row.split('|'))
    for (const [, code = '', , when = '', todo = ''] of rows) {
      expect(when.trim(), code).not.toBe('')
      expect(todo.trim(), code).not.toBe('')
    }
  })

  it('are on the page beside every warning', () => {
    const folder = new URL('../src/', import.meta.url)
    const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(new URL(name, folder), 'utf8'))
    const codes = sources.flatMap((text) =>
      [...text.matchAll(/(?:\bwarn\(\s*|\bcode: )'([a-z]+(?:-[a-z]+)+)'/g)].map(([, code]) => code),
    )
    expect(codes.length).toBeGreaterThan(5)
    for (const code of codes) expect(page).toContain(`\n| \`${code}\` `)
  })

  it('carry code, hint, cause and facts', () => {
    const cause = new Error('beneath')
    const error = keelsonError('KEELSON_NO_SPACE', 'The disk is full.', {
      hint: 'Free some.',
      cause,
      path: '/x',
    })
    expect(error).toMatchObject({ code: 'KEELSON_NO_SPACE', hint: 'Free some.', path: '/x', cause })
    expect(error.name).toBe('HostError')
    expect(String(error)).toBe('HostError: The disk is full.')
  })

  it('are recognised by brand, not by class', () => {
    const code: ErrorCode = 'KEELSON_IO'
    expect(KeelsonError.is(keelsonError(code, 'x'))).toBe(true)
    const fromAnotherCopy = { [Symbol.for('keelson.error')]: true, code }
    expect(KeelsonError.is(fromAnotherCopy)).toBe(true)
    expect(KeelsonError.is(new Error('x'))).toBe(false)
    expect(KeelsonError.is(null)).toBe(false)
  })
})
