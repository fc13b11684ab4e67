import { describe, expect, it } from 'vitest'
import { decodeClaim } from '../../../src/container/record/claim.ts'
import { checkName, generateName } from '../../../src/container/record/names.ts'
import { ADJECTIVES, NOUNS } from '../../../src/container/record/name-words.ts'

describe('names', () => {
  it.each(['ab', 'web_1', 'A.b-c', '0x', 'a'.repeat(128), '/web'])('may be %s', (name) => {
    expect(checkName(name)).toBe(name.replace('/', ''))
  })

  it.each([
    '',
    'a',
    '_a',
    '.a',
    '-a',
    'a b',
    'a/b',
    '../a',
    'é1',
    'a\0b',
    'a'.repeat(129),
    'f'.repeat(64),
    undefined,
    7,
  ])('may not be %j', (name) => {
    expect(() => checkName(name)).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option: 'name' }),
    )
  })

  it('are generated of plain words, with a number when many are taken', () => {
    for (const word of [...ADJECTIVES, ...NOUNS]) expect(word).toMatch(/^[a-z]{3,12}$/)
    expect(new Set(ADJECTIVES).size).toBe(ADJECTIVES.length)
    for (let attempt = 0; attempt < 60; attempt++) {
      const name = generateName(attempt)
      expect(checkName(name)).toMatch(attempt < 32 ? /^[a-z]+_[a-z]+$/ : /^[a-z]+_[a-z]+\d+$/)
    }
  })

  it('have owners only in files that were written whole', () => {
    const claim = { id: 'a'.repeat(64), engine: '/run/keelson/engines/1' }
    expect(decodeClaim(JSON.stringify(claim))).toEqual(claim)
    for (const text of ['', '{', 'null', '[]', '{"id":"../x","engine":"/"}', '{"id":1}']) {
      expect(decodeClaim(text)).toBeUndefined()
    }
  })
})
