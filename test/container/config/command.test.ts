import { describe, expect, test } from 'vitest'
import { commandLine, environment } from '../../../src/container/config/command.ts'

describe('commandLine', () => {
  const image = { Entrypoint: ['/entry', '-e'], Cmd: ['serve'] }

  test.each([
    [{}, image, ['/entry', '-e', 'serve']],
    [{ command: ['other'] }, image, ['/entry', '-e', 'other']],
    [{ command: [] }, image, ['/entry', '-e', 'serve']],
    [{ entrypoint: ['/own'] }, image, ['/own']],
    [{ entrypoint: ['/own'], command: ['a'] }, image, ['/own', 'a']],
    [{ entrypoint: [''], command: ['a'] }, image, ['a']],
    [{ entrypoint: [], command: ['a'] }, image, ['a']],
    [{ command: ['a'] }, {}, ['a']],
    [{}, { Cmd: ['/bin/sh', '-c', 'echo hi'] }, ['/bin/sh', '-c', 'echo hi']],
    [{}, { Entrypoint: [''], Cmd: ['a'] }, ['a']],
  ])('%j of %j', (given, of, expected) => {
    expect(commandLine(given, of)).toEqual(expected)
  })

  test.each([
    [{}, {}],
    [{ entrypoint: [''] }, image],
    [{ command: [''] }, {}],
  ])('%j of %j is refused', (given, of) => {
    expect(() => commandLine(given, of)).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option: 'command' }),
    )
  })
})

describe('environment', () => {
  const defaults = { hostname: 'box', home: '/root', tty: false }

  test('has defaults, under what the image and the caller say', () => {
    const variables = environment({ B: 'own', PATH: '/own' }, { Env: ['A=1', 'B=2'] }, defaults)
    expect(variables).toEqual(['PATH=/own', 'HOSTNAME=box', 'A=1', 'B=own', 'HOME=/root'])
  })

  test('a variable without a value is taken away', () => {
    expect(environment({ A: undefined }, { Env: ['A=1'] }, defaults)).not.toContain('A=1')
  })

  test('HOME is the image’s or the caller’s, when they say one', () => {
    expect(environment({}, { Env: ['HOME=/image'] }, defaults)).toContain('HOME=/image')
    expect(environment({ HOME: '' }, {}, defaults)).toContain('HOME=/root')
  })
})
