import { expect, test } from 'vitest'
import { DetachScanner, parseDetachKeys } from '../../../src/container/attach/detach-keys.ts'

const CTRL_P = '\x10'
const CTRL_Q = '\x11'

/** What is passed on of what is typed byte by byte, and whether it detached. */
function type(keys: string, text: string): [string, boolean] {
  const scanner = new DetachScanner(parseDetachKeys(keys))
  let passed = ''
  for (const byte of Buffer.from(text)) {
    const { pass, detached } = scanner.push(Buffer.from([byte]))
    passed += pass.toString()
    if (detached) return [passed, true]
  }
  return [passed + scanner.end().toString(), false]
}

test('keys are written as Docker has them', () => {
  expect([...parseDetachKeys('ctrl-p,ctrl-q')]).toEqual([0x10, 0x11])
  expect([...parseDetachKeys('ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_,a,~')]).toEqual([
    0, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x61, 0x7e,
  ])
  for (const keys of ['ctrl-P', 'ctrl-1', 'ab', 'é', 'a,,b']) {
    expect(() => parseDetachKeys(keys)).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option: 'detachKeys' }),
    )
  }
})

test('the keys are not passed on, all else is', () => {
  expect(type('ctrl-p,ctrl-q', `ls\n${CTRL_P}${CTRL_Q}rest`)).toEqual(['ls\n', true])
  expect(type('ctrl-p,ctrl-q', `${CTRL_P}x${CTRL_Q}`)).toEqual([`${CTRL_P}x${CTRL_Q}`, false])
  expect(type('ctrl-p,ctrl-q', `${CTRL_P}${CTRL_P}${CTRL_Q}`)).toEqual([CTRL_P, true])
  expect(type('ctrl-p,ctrl-q', `a${CTRL_P}`)).toEqual([`a${CTRL_P}`, false])
  expect(type('a,a,b', 'aaaab')).toEqual(['aa', true])
  expect(type('a,b,a,c', 'ababac')).toEqual(['ab', true])
})
