import { describe, expect, test } from 'vitest'
import { endpointsOf, isLoopback, normalizeRegistries } from '../../src/registry/hosts.ts'
import { redirectTarget } from '../../src/registry/redirect.ts'
import { parseRetryAfter } from '../../src/registry/failure.ts'
import { parseContentRange } from '../../src/registry/download.ts'
import type { RegistryOptions } from '../../src/registry/options.ts'
import { DEFAULT_RETRY, pauseAfter } from '../../src/registry/retry.ts'

const places = (registry: string, options: Record<string, RegistryOptions> = {}) =>
  endpointsOf(registry, normalizeRegistries(options)).map(({ schemes, host, prefix }) =>
    `${schemes.join('|')} ${host} ${prefix}`.trim(),
  )

describe('a registry is looked for', () => {
  test.each<[string, Record<string, RegistryOptions>, string[]]>([
    ['docker.io', {}, ['https registry-1.docker.io']],
    ['quay.io', {}, ['https quay.io']],
    ['127.0.0.1:5000', {}, ['https|http 127.0.0.1:5000']],
    ['localhost', {}, ['https|http localhost']],
    ['[::1]:5000', {}, ['https|http [::1]:5000']],
    ['127.0.0.1:5000', { '127.0.0.1:5000': { insecure: false } }, ['https 127.0.0.1:5000']],
    ['127.0.0.1:5000', { '127.0.0.1:5000': { ca: 'x' } }, ['https 127.0.0.1:5000']],
    ['a.b', { 'A.B': { insecure: true } }, ['https|http a.b']],
    [
      'docker.io',
      {
        'index.docker.io': {
          mirrors: ['m.x', 'http://n.x:5000', 'https://o.x/p/q/', 'localhost:1'],
        },
      },
      [
        'https m.x',
        'http n.x:5000',
        'https o.x p/q/',
        'https|http localhost:1',
        'https registry-1.docker.io',
      ],
    ],
    [
      'docker.io',
      { 'docker.io': { mirrors: ['m.x'] }, 'm.x': { insecure: true } },
      ['https|http m.x', 'https registry-1.docker.io'],
    ],
  ])('%s with %j at %j', (registry, options, expected) => {
    expect(places(registry, options)).toEqual(expected)
  })

  test.each([
    ['127.0.0.1', true],
    ['127.9.9.9:80', true],
    ['localhost:5000', true],
    ['[::1]', true],
    ['127.1', true],
    ['128.0.0.1', false],
    ['localhost.evil.com', false],
    ['127.0.0.1.evil.com', false],
    ['[::2]', false],
    ['0.0.0.0', false],
    ['', false],
  ])('on this machine: %s, %s', (host, expected) => {
    expect(isLoopback(host)).toBe(expected)
  })
})

describe('a redirect', () => {
  const from = new URL('https://r.x/v2/a/blobs/b')
  test.each([
    ['https://cdn.x/y', 'https://cdn.x/y'],
    ['/z', 'https://r.x/z'],
    ['//cdn.x/y#part', 'https://cdn.x/y'],
  ])('to %s leads to %s', (location, expected) => {
    expect(redirectTarget([from], location).href).toBe(expected)
  })

  test.each([
    [undefined, 'usable Location'],
    ['http://r.x/y', 'https to http'],
    ['http://127.0.0.1/y', 'https to http'],
    ['file:///etc/passwd', 'file: address'],
    ['data:,x', 'data: address'],
    ['https://u:p@cdn.x', 'with credentials'],
    ['https://', 'usable Location'],
    [from.href, 'in a circle'],
    [`${from.href}#again`, 'in a circle'],
  ])('to %s is refused', (location, why) => {
    expect(() => redirectTarget([from], location)).toThrow(
      expect.objectContaining({
        code: 'KEELSON_REGISTRY_PROTOCOL',
        message: expect.stringContaining(why),
      }),
    )
  })

  test('may lose encryption between two addresses of this machine only', () => {
    expect(redirectTarget([new URL('https://127.0.0.1:1/')], 'http://localhost:2/').port).toBe('2')
  })

  test('is followed ten times', () => {
    const passed = Array.from({ length: 10 }, (_, at) => new URL(`https://r.x/${at}`))
    expect(redirectTarget(passed, '/next').href).toBe('https://r.x/next')
    expect(() => redirectTarget([...passed, from], '/next')).toThrow(/more than 10/)
  })
})

test.each<[string, number | undefined]>([
  ['0', 0],
  [' 120 ', 120_000],
  ['Wed, 21 Oct 2015 07:28:00 GMT', 5000],
  ['Wed, 21 Oct 2015 07:00:00 GMT', 0],
  ['-1', undefined],
  ['1.5', undefined],
  ['soon', undefined],
  ['', undefined],
])('Retry-After: %s is %s ms', (value, expected) => {
  expect(parseRetryAfter(value, Date.parse('2015-10-21T07:27:55Z'))).toBe(expected)
})

test('pauses double up to a limit, and each is shortened by up to half', () => {
  const policy = { ...DEFAULT_RETRY, base: 100, max: 500 }
  const pauses = (random: number) =>
    [1, 2, 3, 4, 9].map((failures) => pauseAfter(failures, new Error('x'), policy, random))
  expect(pauses(0)).toEqual([100, 200, 400, 500, 500])
  expect(pauses(1)).toEqual([50, 100, 200, 250, 250])
})

test.each<[string | undefined, unknown]>([
  ['bytes 5-9/10', { start: 5, end: 9, total: 10 }],
  ['Bytes 0-0/*', { start: 0, end: 0, total: undefined }],
  ['bytes 9-5/10', undefined],
  ['bytes 5-10/10', undefined],
  ['bytes */10', undefined],
  ['bytes -5/10', undefined],
  ['items 0-1/2', undefined],
  [undefined, undefined],
])('Content-Range: %s is %j', (header, expected) => {
  expect(parseContentRange(header)).toEqual(expected)
})
