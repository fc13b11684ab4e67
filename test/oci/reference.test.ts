import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { parseReference } from '../../src/oci/reference.ts'

const SHA256 = digestOf('x')
const SHA512 = digestOf('x', 'sha512')

describe('references', () => {
  test.each([
    // text, canonical, familiar
    ['docker.io/b.c/a', 'docker.io/b.c/a:latest', 'docker.io/b.c/a:latest'],
    ['alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
    ['alpine:3.22', 'docker.io/library/alpine:3.22', 'alpine:3.22'],
    ['library/alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
    ['docker.io/alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
    ['index.docker.io/alpine:1', 'docker.io/library/alpine:1', 'alpine:1'],
    ['index.docker.io/library/alpine:1', 'docker.io/library/alpine:1', 'alpine:1'],
    ['library/a/b', 'docker.io/library/a/b:latest', 'library/a/b:latest'],
    ['user/app:v1', 'docker.io/user/app:v1', 'user/app:v1'],
    ['quay.io/x/y', 'quay.io/x/y:latest', 'quay.io/x/y:latest'],
    ['localhost/x', 'localhost/x:latest', 'localhost/x:latest'],
    ['localhost:5000/x', 'localhost:5000/x:latest', 'localhost:5000/x:latest'],
    ['127.0.0.1:5000/x:2', '127.0.0.1:5000/x:2', '127.0.0.1:5000/x:2'],
    ['[::1]:5000/x', '[::1]:5000/x:latest', '[::1]:5000/x:latest'],
    ['[2001:db8::1]/x/y:z', '[2001:db8::1]/x/y:z', '[2001:db8::1]/x/y:z'],
    ['Uppercase/x', 'Uppercase/x:latest', 'Uppercase/x:latest'],
    [
      'foo.com:80/a_b/c__d/e--f:T-._9',
      'foo.com:80/a_b/c__d/e--f:T-._9',
      'foo.com:80/a_b/c__d/e--f:T-._9',
    ],
    ['xn--n3h.com/x', 'xn--n3h.com/x:latest', 'xn--n3h.com/x:latest'],
    [`alpine@${SHA256}`, `docker.io/library/alpine@${SHA256}`, `alpine@${SHA256}`],
    [`a.b/c:t@${SHA512}`, `a.b/c:t@${SHA512}`, `a.b/c:t@${SHA512}`],
    [`x:${'t'.repeat(128)}`, `docker.io/library/x:${'t'.repeat(128)}`, `x:${'t'.repeat(128)}`],
    // A single name that looks like host and port is a name and a tag.
    ['localhost:5000', 'docker.io/library/localhost:5000', 'localhost:5000'],
  ])('%s', (text, canonical, familiar) => {
    const reference = parseReference(text)
    expect(reference.toString()).toBe(canonical)
    expect(reference.familiar()).toBe(familiar)
    expect(parseReference(canonical)).toEqual(reference)
    expect(parseReference(familiar)).toEqual(reference)
  })

  test.each([
    ['', 'is empty'],
    ['a b', 'white space'],
    ['https://docker.io/x', 'URL scheme'],
    ['docker://alpine', 'URL scheme'],
    ['ALPINE', 'upper-case'],
    ['docker.io/Alpine', 'upper-case'],
    ['a//b', 'malformed'],
    ['a/', 'malformed'],
    ['/a', 'malformed'],
    ['-a/b', 'malformed'],
    ['a_/b', 'malformed'],
    ['a..b', 'malformed'],
    ['a___b', 'malformed'],
    ['a:', 'tag'],
    ['a:.x', 'tag'],
    ['a:-x', 'tag'],
    ['a:x/y', 'registry'],
    [`a:${'t'.repeat(129)}`, 'tag'],
    ['a.5000/x', 'registry'],
    ['256.1.1.1/x', 'registry'],
    ['host:70000/x', 'port'],
    ['host:0/x', 'port'],
    ['host:/x', 'registry'],
    ['host.:5/x', 'registry'],
    ['[::1/x', 'registry'],
    ['[:::1]/x', 'IPv6'],
    ['[fe80::1%25eth0]/x', 'registry'],
    [`q.io/${'a'.repeat(256)}`, 'longer than 255'],
    ['f'.repeat(64), 'image id'],
    ['a:b:c', 'tag'],
  ])('%s is refused', (text, why) => {
    expect(() => parseReference(text)).toThrow(
      expect.objectContaining({
        code: 'KEELSON_INVALID_REFERENCE',
        message: expect.stringContaining(why),
        hint: expect.any(String),
      }),
    )
  })

  test.each([
    'a@',
    'a@sha256:00',
    `a@sha256:${'G'.repeat(64)}`,
    `a@md5:${'0'.repeat(32)}`,
    `a@${SHA256}@${SHA256}`,
  ])('%s has no digest', (text) => {
    expect(() => parseReference(text)).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_DIGEST' }),
    )
  })

  test('255 characters of repository are allowed', () => {
    expect(parseReference(`q.io/${'a'.repeat(255)}`).repository).toHaveLength(255)
  })

  test('messages show no control characters and are short', () => {
    const nasty = `\u001b[31m\u202e${'x'.repeat(10_000)}`
    expect(() => parseReference(nasty)).toThrow(/^"\[31m x+\.\.\." is not/)
  })

  test('a digest keeps the tag for people', () => {
    const reference = parseReference('alpine:3').withDigest(SHA256)
    expect(reference.toString()).toBe(`docker.io/library/alpine:3@${SHA256}`)
    expect(JSON.stringify({ reference })).toBe(`{"reference":"${reference.toString()}"}`)
  })

  test('any text is either refused or stays what it is', () => {
    const piece = fc.constantFrom(
      'a',
      'b.c',
      'X',
      '/',
      ':',
      '@',
      '_',
      '-',
      '.',
      '5000',
      '[',
      ']',
      '::1',
      'localhost',
      'docker.io',
      SHA256,
    )
    const text = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 9 }).map((all) => all.join('')),
    )
    fc.assert(
      fc.property(text, (each) => {
        let reference
        try {
          reference = parseReference(each)
        } catch {
          return
        }
        expect(parseReference(reference.toString())).toEqual(reference)
        expect(parseReference(reference.familiar())).toEqual(reference)
        expect(new URL(`https://${reference.registry}`).pathname).toBe('/')
        expect(new URL(`https://h/v2/${reference.repository}/x`).pathname).toBe(
          `/v2/${reference.repository}/x`,
        )
      }),
      { numRuns: 5000 },
    )
  })
})
