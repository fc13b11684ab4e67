import { describe, expect, test } from 'vitest'
import { parseSize } from '../../src/util/size.ts'

describe('parseSize', () => {
  test.each([
    [0, 0],
    [1024, 1024],
    ['0', 0],
    ['1024', 1024],
    ['1b', 1],
    ['1k', 1024],
    ['1K', 1024],
    ['1kb', 1024],
    ['1KiB', 1024],
    ['64kb', 65_536],
    ['512m', 512 * 2 ** 20],
    ['512 MB', 512 * 2 ** 20],
    [' 1g ', 2 ** 30],
    ['1.5g', 1.5 * 2 ** 30],
    ['0.5k', 512],
    ['1t', 2 ** 40],
    ['1p', 2 ** 50],
    // Half a byte is none.
    ['1.7b', 1],
  ])('%j is %d bytes', (size, bytes) => {
    expect(parseSize(size, 'memory')).toBe(bytes)
  })

  test.each([
    -1,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 53,
    '',
    ' ',
    '-1',
    'm',
    '1x',
    '1 2',
    '1e3',
    '0x10',
    '1..5g',
    '.5g',
    '1gg',
    '9999999p',
    '१m',
    null,
    true,
    {},
    [],
    ['1m'],
    1n,
    Symbol('1m'),
  ])('%s is refused, with the option named', (size) => {
    expect(() => parseSize(size as string, 'memory')).toThrow(
      expect.objectContaining({
        code: 'KEELSON_INVALID_OPTION',
        option: 'memory',
        message: expect.stringMatching(/^memory is not a size: /),
      }),
    )
  })
})
