import { describe, expect, test } from 'vitest'
import { parseDuration } from '../../src/util/duration.ts'

describe('parseDuration', () => {
  test.each([
    [0, 0],
    [1500, 1500],
    [0.5, 0.5],
    ['0s', 0],
    ['300ms', 300],
    ['1.5s', 1500],
    ['1m', 60_000],
    ['1m30s', 90_000],
    ['2h', 7_200_000],
    ['1h2m3s4ms', 3_723_004],
    ['500us', 0.5],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    ['10000h', 36_000_000_000],
  ])('%j is %d milliseconds', (duration, milliseconds) => {
    expect(parseDuration(duration, 'timeout')).toBe(milliseconds)
  })

  test.each([
    -1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    '',
    '1',
    's',
    '1 s',
    '-1s',
    '1d',
    '1s1',
    '1e3s',
    '.5s',
    'forever',
    `${'9'.repeat(400)}h`,
    null,
    true,
    {},
    [],
    ['1s'],
    1n,
    Symbol('1s'),
  ])('%s is refused, with the option named', (duration) => {
    expect(() => parseDuration(duration as string, 'timeout')).toThrow(
      expect.objectContaining({
        code: 'KEELSON_INVALID_OPTION',
        option: 'timeout',
        message: expect.stringMatching(/^timeout is not a duration: /),
      }),
    )
  })
})
