import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { chainIds } from '../../src/oci/chain-id.ts'
import {
  digestAlgorithm,
  digestHex,
  digestOf,
  finishDigest,
  parseDigest,
  startDigest,
} from '../../src/oci/digest.ts'

const EMPTY = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

describe('digests', () => {
  test('of sha256 and sha512 are read and made', () => {
    expect(parseDigest(EMPTY)).toBe(EMPTY)
    expect(digestOf('')).toBe(EMPTY)
    const long = digestOf('x', 'sha512')
    expect(parseDigest(long)).toBe(long)
    expect([digestAlgorithm(parseDigest(EMPTY)), digestAlgorithm(long)]).toEqual([
      'sha256',
      'sha512',
    ])
    expect(digestHex(long)).toHaveLength(128)
  })

  test('of a stream use the algorithm that is expected', () => {
    const expected = digestOf('abc', 'sha512')
    const hash = startDigest(expected)
    hash.update('a').update('bc')
    expect(finishDigest(hash, expected)).toBe(expected)
  })

  test.each([
    '',
    ':',
    'sha256',
    'sha256:',
    EMPTY.toUpperCase(),
    `${EMPTY}0`,
    ` ${EMPTY}`,
    `${EMPTY}\n`,
    EMPTY.slice(0, -1),
    EMPTY.replace('sha256', 'sha384'),
    EMPTY.replace('e', '/'),
  ])('%j is refused', (text) => {
    expect(() => parseDigest(text)).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_DIGEST' }),
    )
  })
})

const sha256 = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`

test('chain ids hash the chain below with each diff id', () => {
  const [a, b, c] = [digestOf('a'), digestOf('b'), digestOf('c')]
  const ab = sha256(`${a} ${b}`)
  expect(chainIds([a, b, c])).toEqual([a, ab, sha256(`${ab} ${c}`)])
  expect(chainIds([])).toEqual([])
})
