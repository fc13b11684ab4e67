import { expect, test } from 'vitest'
import {
  decodeMessage,
  encodeMessage,
  METHOD_CALL,
  METHOD_RETURN,
  SIGNAL,
  type Message,
} from '../../src/runtime/dbus-message.ts'

const hello: Message = {
  type: METHOD_CALL,
  serial: 1,
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
  member: 'Hello',
  destination: 'org.freedesktop.DBus',
  body: [],
}

test('a call is written as the specification has it', () => {
  const bytes = encodeMessage({
    ...hello,
    path: '/o',
    member: 'M',
    destination: 'd',
    interface: 'i.i',
  })
  const fields = Buffer.concat([
    field(1, 'o', '/o'),
    field(2, 's', 'i.i'),
    field(3, 's', 'M'),
    field(6, 's', 'd'),
  ])
  // The last field is aligned by the header, not counted by the array.
  const length = 16 * 3 + 8 + 2
  const head = Buffer.from([0x6c, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, length, 0, 0, 0])
  expect(bytes.toString('hex')).toBe(Buffer.concat([head, fields]).toString('hex'))
})

test.each<Message>([
  hello,
  { type: METHOD_RETURN, serial: 7, replySerial: 1, signature: 'o', body: ['/job/1'] },
  {
    type: SIGNAL,
    serial: 9,
    member: 'JobRemoved',
    signature: 'uoss',
    body: [5, '/job/5', 'a.scope', 'done'],
  },
  { type: SIGNAL, serial: 9, member: 'B', signature: 'yb', body: [1, true] },
])('what was written is read again, also byte by byte', (message) => {
  const bytes = encodeMessage(message)
  expect(decodeMessage(bytes)).toEqual({ message, length: bytes.length })
  for (let end = 0; end < bytes.length; end++) {
    expect(decodeMessage(bytes.subarray(0, end))).toBeUndefined()
  }
  expect(decodeMessage(Buffer.concat([bytes, bytes]))?.length).toBe(bytes.length)
})

test('bodies of types that nobody asks for are passed over', () => {
  const body = [[['Delegate', { signature: 'b', value: true }]]]
  const bytes = encodeMessage({ type: SIGNAL, serial: 1, member: 'X', signature: 'a(sv)', body })
  expect(decodeMessage(bytes)?.message).toMatchObject({ member: 'X', body: [] })
})

test.each([
  ['another byte order', (bytes: Buffer) => bytes.fill('B', 0, 1)],
  ['another version', (bytes: Buffer) => bytes.fill(2, 3, 4)],
  ['an enormous length', (bytes: Buffer) => bytes.fill(0x7f, 4, 8)],
  ['fields that run over', (bytes: Buffer) => bytes.fill(0xff, 20, 24)],
])('%s is refused', (_, damage) => {
  const bytes = encodeMessage(hello)
  damage(bytes)
  expect(() => decodeMessage(bytes)).toThrow(RangeError)
})

/** A field of the header: its code, the signature of its value, the value, aligned for the next one. */
function field(code: number, type: string, text: string): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(text.length)
  const head = Buffer.from([code, 1, type.charCodeAt(0), 0])
  const whole = Buffer.concat([head, length, Buffer.from(`${text}\0`)])
  return Buffer.concat([whole, Buffer.alloc((8 - (whole.length % 8)) % 8)])
}
