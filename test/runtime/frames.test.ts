import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeFrame, FrameDecoder } from '../../src/runtime/frames.ts'

describe('frames', () => {
  it('come out as they went in, however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { maxLength: 8 }),
        fc.array(fc.nat(40), { minLength: 1 }),
        (messages, cuts) => {
          const bytes = Buffer.concat(messages.map((message) => encodeFrame(message)))
          const decoder = new FrameDecoder()
          const decoded: unknown[] = []
          let cut = 0
          for (let at = 0; at < bytes.length;) {
            const size = 1 + (cuts[cut++ % cuts.length] ?? 0)
            decoded.push(...decoder.push(bytes.subarray(at, at + size)))
            at += size
          }
          expect(decoded).toEqual(messages.map((message) => JSON.parse(JSON.stringify(message))))
        },
      ),
    )
  })

  it('refuse a length over the limit before reading the body', () => {
    const header = Buffer.alloc(4)
    header.writeUInt32LE(16 * 1024 * 1024 + 1)
    expect(() => new FrameDecoder().push(header)).toThrow(
      expect.objectContaining({ code: 'KEELSON_HELPER_FAILED' }),
    )
    expect(() => encodeFrame({ value: 'x'.repeat(16 * 1024 * 1024) })).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION' }),
    )
  })
})
