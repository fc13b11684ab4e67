import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { locateHelper } from '../../src/runtime/locate.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keelson-locate-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

const missing = () => locateHelper({}, 'mips')

describe('the helper', () => {
  it('is what KEELSON_HELPER names, when that is executable', () => {
    const path = join(directory, 'helper')
    writeFileSync(path, '')
    chmodSync(path, 0o755)
    expect(locateHelper({ KEELSON_HELPER: path })).toBe(path)
    chmodSync(path, 0o644)
    expect(() => locateHelper({ KEELSON_HELPER: path })).toThrow(/not an executable file/)
  })

  it('is missed with an error that names all three places', () => {
    expect(missing).toThrow(expect.objectContaining({ code: 'KEELSON_HELPER_NOT_FOUND' }))
    expect(missing).toThrow(/KEELSON_HELPER/)
    expect(missing).toThrow(/@keelson\/helper-linux-mips/)
    expect(missing).toThrow(/no build/)
  })
})
