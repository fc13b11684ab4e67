import { describe, expect, test } from 'vitest'
import { encodeAnswer } from '../../../src/network/resolve/questions.ts'
import {
  normalizeResolve,
  typeName,
  type ResolveOptions,
} from '../../../src/network/resolve/resolver.ts'

const [A, AAAA, PTR, TXT, ANY] = [1, 28, 12, 16, 255]

describe('an answer', () => {
  test.each([
    [A, undefined, { answer: 'pass' }],
    [A, null, { answer: 'refuse' }],
    [A, '10.0.0.1', { answer: 'records', records: ['10.0.0.1'] }],
    [A, ['10.0.0.1', 'fd00::1'], { answer: 'records', records: ['10.0.0.1'] }],
    [AAAA, ['10.0.0.1', 'fd00::1'], { answer: 'records', records: ['fd00::1'] }],
    [AAAA, '10.0.0.1', { answer: 'records', records: [] }],
    [ANY, ['10.0.0.1', 'fd00::1'], { answer: 'records', records: ['10.0.0.1', 'fd00::1'] }],
    [TXT, '10.0.0.1', { answer: 'records', records: [] }],
    [PTR, 'db.test', { answer: 'records', records: ['db.test'] }],
    [A, [], { answer: 'records', records: [] }],
  ])('to type %i of %j is %j', (type, told, expected) => {
    expect(encodeAnswer(type, told)).toEqual(expected)
  })

  test.each([
    [A, 'db'],
    [A, 7],
    [A, true],
    [A, {}],
    [A, ['10.0.0.1', undefined]],
    [PTR, ''],
    [PTR, 'x'.repeat(256)],
    [TXT, 'text'],
  ])('to type %i is none: %j', (type, told) => {
    expect(() => encodeAnswer(type, told)).toThrow(TypeError)
  })
})

test('types have their names', () => {
  expect([1, 28, 65, 4711].map(typeName)).toEqual(['A', 'AAAA', 'HTTPS', 'TYPE4711'])
})

const answer = () => undefined

describe('options', () => {
  test('have defaults', () => {
    expect(normalizeResolve(answer, {})).toEqual({ timeout: 1000, fallback: 'pass' })
    expect(normalizeResolve(answer, { timeout: '2s', fallback: 'fail' })).toEqual({
      timeout: 2000,
      fallback: 'fail',
    })
  })

  test.each([
    [undefined, {}],
    [answer, { timeout: 0 }],
    [answer, { timeout: '5s' }],
    [answer, { fallback: 'none' }],
    [answer, { timeOut: 1 }],
  ])('are refused: %j %j', (given, options) => {
    expect(() => normalizeResolve(given, options as ResolveOptions)).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION' }),
    )
  })
})
