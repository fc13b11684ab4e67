import { expect, test } from 'vitest'
import { checkPath, fromWire, toWire } from '../../../src/snapshot/files/names.ts'

test('names travel as text where they are UTF-8, else as base64', () => {
  for (const text of ['/etc/passwd', '/grüße\n', '/\u{1F600}', '/\uFFFD']) {
    expect(toWire(text)).toBe(text)
    expect(toWire(Buffer.from(text))).toBe(text)
    expect(fromWire(text)).toEqual(Buffer.from(text))
  }
  const bytes = Buffer.from([0x2f, 0xff, 0x0a])
  expect(toWire(bytes)).toEqual({ base64: 'L/8K' })
  expect(fromWire(toWire(bytes))).toEqual(bytes)
})

test('what no path can be is refused', () => {
  for (const path of ['', 'a\0b', new Uint8Array(), new Uint8Array([1, 0])]) {
    expect(() => checkPath(path)).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION' }),
    )
  }
})
