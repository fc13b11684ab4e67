import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseChallenges } from '../../src/registry/challenge.ts'

const read = (header: string) =>
  parseChallenges(header).map(({ scheme, params }) => [scheme, Object.fromEntries(params)])

const quote = (text: string) => `"${text.replace(/["\\]/g, String.raw`\$&`)}"`

describe('challenges', () => {
  test.each<[string, unknown]>([
    ['', []],
    ['Basic', [['basic', {}]]],
    ['Basic realm="Registry Realm"', [['basic', { realm: 'Registry Realm' }]]],
    [
      'Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
      [['bearer', { realm: 'https://a/t', service: 's', scope: 'repository:x:pull,push' }]],
    ],
    ['BEARER Realm=abc , Service = "x"', [['bearer', { realm: 'abc', service: 'x' }]]],
    [
      'Basic realm="a, b", Bearer realm="c"',
      [
        ['basic', { realm: 'a, b' }],
        ['bearer', { realm: 'c' }],
      ],
    ],
    [
      'Bearer realm="c", Basic',
      [
        ['bearer', { realm: 'c' }],
        ['basic', {}],
      ],
    ],
    [
      'Negotiate, Basic realm=x',
      [
        ['negotiate', {}],
        ['basic', { realm: 'x' }],
      ],
    ],
    [
      'Negotiate YWJj==, Bearer realm="r"',
      [
        ['negotiate', {}],
        ['bearer', { realm: 'r' }],
      ],
    ],
    ['Bearer realm="q\\"uo\\\\te"', [['bearer', { realm: 'q"uo\\te' }]]],
    [', ,Basic realm="x",,', [['basic', { realm: 'x' }]]],
    ['Bearer realm="first", realm="second"', [['bearer', { realm: 'first' }]]],
    ['Bearer realm="never ends', [['bearer', {}]]],
    [
      'Bearer realm="x", error="invalid_token"',
      [['bearer', { realm: 'x', error: 'invalid_token' }]],
    ],
  ])('%s', (header, expected) => {
    expect(read(header)).toEqual(expected)
  })

  test('of any text are read, in little time', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', ' ', ',', '=', '"', '\\', '/'), maxLength: 60 }),
        (text) => {
          parseChallenges(text)
        },
      ),
    )
    expect(parseChallenges('a '.repeat(8000)).length).toBeGreaterThan(0)
    expect(parseChallenges(`Bearer realm="${'\\'.repeat(15_999)}`)).toHaveLength(1)
  })

  test('that were written are read back', () => {
    const word = fc.string({ unit: fc.constantFrom(...'abcXYZ09-._~'.split('')), minLength: 1 })
    const params = fc.dictionary(
      word.map((name) => name.toLowerCase()),
      fc.string({ unit: fc.constantFrom(...'ab ,="\\'.split('')) }),
      { minKeys: 1 },
    )
    const challenge = fc.tuple(word, params)
    fc.assert(
      fc.property(fc.array(challenge, { maxLength: 4 }), (all) => {
        const header = all
          .map(
            ([scheme, fields]) =>
              `${scheme} ${Object.entries(fields)
                .map(([k, v]) => `${k}=${quote(v)}`)
                .join(', ')}`,
          )
          .join(', ')
        expect(
          parseChallenges(header).map(({ scheme, params: fields }) => [scheme, [...fields]]),
        ).toEqual(all.map(([scheme, fields]) => [scheme.toLowerCase(), Object.entries(fields)]))
      }),
    )
  })
})
