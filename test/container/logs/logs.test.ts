import { appendFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { LONGEST_LINE } from '../../../src/container/logs/join.ts'
import { readLogs } from '../../../src/container/logs/logs.ts'
import { PIECE_LENGTH } from '../../../src/container/logs/parse.ts'
import { all, line, testLog, texts } from './log.ts'

const at = (n: number) => new Date(Date.UTC(2026, 10, 24) + n * 1000)

describe('what is there', () => {
  test('is nothing before the container has started', async () => {
    await using log = await testLog()
    expect(await texts(readLogs(log.source))).toEqual([])
    expect(await texts(readLogs(log.source, { tail: 3 }))).toEqual([])
  })

  test('comes over rotated files, oldest first, with its stream and time', async () => {
    await using log = await testLog()
    await log.write(line(1, 'one'))
    await log.rotate(1)
    await log.write(line(2, 'two', { stream: 'stderr' }))
    await log.rotate(2)
    await log.write(line(3, 'three'))
    const entries = await all(readLogs(log.source))
    expect(entries.map(({ text, stream, timestamp }) => [text, stream, timestamp])).toEqual([
      ['one', 'stdout', '2026-11-24T00:00:01.000000001Z'],
      ['two', 'stderr', '2026-11-24T00:00:02.000000001Z'],
      ['three', 'stdout', '2026-11-24T00:00:03.000000001Z'],
    ])
    expect(entries[0]?.time).toEqual(new Date('2026-11-24T00:00:01Z'))
  })

  test('is any bytes', async () => {
    await using log = await testLog()
    const bytes = Buffer.from([0, 255, 13, 32, 128])
    await log.write(line(1, bytes), line(2, ''))
    const entries = await all(readLogs(log.source))
    expect(entries.map((entry) => [...entry.bytes])).toEqual([[...bytes], []])
  })

  test('has long lines whole, of two streams that were written by turns', async () => {
    await using log = await testLog()
    const part = 'x'.repeat(PIECE_LENGTH)
    await log.write(
      line(1, part, { mark: 'P' }),
      line(2, 'error', { stream: 'stderr' }),
      line(3, part, { mark: 'P' }),
      line(4, 'end'),
    )
    const entries = await all(readLogs(log.source))
    expect(entries.map(({ text, partial }) => [text.length, partial])).toEqual([
      ['error'.length, false],
      [2 * PIECE_LENGTH + 'end'.length, false],
    ])
    expect(entries[1]?.timestamp).toMatch(/:01\.000000001Z$/)
  })

  test('says that a line has no end; the next run of the program begins another', async () => {
    await using log = await testLog()
    await log.write(line(1, 'prompt> ', { mark: 'P' }), line(2, 'next'))
    const entries = await all(readLogs(log.source))
    expect(entries.map(({ text, partial }) => [text, partial])).toEqual([
      ['prompt> ', true],
      ['next', false],
    ])
  })

  test('comes in pieces when a line never ends', async () => {
    await using log = await testLog()
    const pieces = LONGEST_LINE / PIECE_LENGTH
    const part = line(1, 'x'.repeat(PIECE_LENGTH), { mark: 'P' })
    await log.write(...Array.from({ length: pieces + 1 }, () => part))
    const entries = await all(readLogs(log.source))
    expect(entries.map(({ bytes, partial }) => [bytes.length, partial])).toEqual([
      [LONGEST_LINE, true],
      [PIECE_LENGTH, true],
    ])
  })

  test('is without what a crash has torn or a hand has written', async () => {
    await using log = await testLog()
    await log.write(line(1, 'one'), Buffer.from('\n\nno line\n2026 stdout F x\n'), line(2, 'two'))
    await appendFile(log.path, '2026-11-24T00:00:03.000000001Z stdout F to')
    expect(await texts(readLogs(log.source))).toEqual(['one', 'two'])
    expect(await texts(readLogs(log.source, { tail: 1 }))).toEqual(['two'])
  })
})

describe('a choice', () => {
  test('of the last lines, from the end of any file', async () => {
    await using log = await testLog()
    const numbers = Array.from({ length: 300 }, (_, n) => n)
    for (const n of numbers) {
      if (n === 100 || n === 200) await log.rotate(3)
      await log.write(line(n, `${n} ${'x'.repeat(1000)}`))
    }
    const read = async (tail: number) =>
      (await texts(readLogs(log.source, { tail }))).map((text) => Number(text.split(' ')[0]))
    for (const tail of [0, 1, 64, 65, 66, 100, 101, 299, 300, 301]) {
      expect(await read(tail)).toEqual(numbers.slice(300 - Math.min(tail, 300)))
    }
  })

  test('of the last lines has long ones whole', async () => {
    await using log = await testLog()
    const part = 'x'.repeat(PIECE_LENGTH)
    await log.write(
      line(1, 'before'),
      line(2, part, { mark: 'P' }),
      line(3, 'other', { stream: 'stderr' }),
      line(4, part, { mark: 'P' }),
      line(5, 'end'),
    )
    const lengths = async (tail: number) =>
      (await texts(readLogs(log.source, { tail }))).map((text) => text.length)
    const long = 2 * PIECE_LENGTH + 3
    expect(await lengths(1)).toEqual([long])
    expect(await lengths(2)).toEqual([5, long])
    expect(await lengths(3)).toEqual([6, 5, long])
  })

  test('of a time and a stream', async () => {
    await using log = await testLog()
    for (let n = 0; n < 10; n++) {
      await log.write(line(n, `${n}`, { stream: n % 2 === 0 ? 'stdout' : 'stderr' }))
    }
    const read = async (options: Parameters<typeof readLogs>[1]) =>
      (await texts(readLogs(log.source, options))).join('')
    expect(await read({ since: at(7) })).toBe('789')
    expect(await read({ until: at(2) })).toBe('012')
    expect(await read({ since: at(3).toISOString(), until: at(5).getTime() })).toBe('345')
    expect(await read({ until: at(4), tail: 2 })).toBe('34')
    expect(await read({ stdout: false })).toBe('13579')
  })

  test('that makes no sense is refused at once', async () => {
    await using log = await testLog()
    for (const [option, options] of [
      ['tail', { tail: -1 }],
      ['since', { since: 'yesterday' }],
      ['until', { until: Number.NaN }],
    ] as const) {
      expect(() => readLogs(log.source, options)).toThrow(
        expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option }),
      )
    }
  })
})

describe('following', () => {
  test('hears every line through rotations until the end', async () => {
    await using log = await testLog()
    await log.write(line(0, '0'))
    const read: string[] = []
    const reading = (async () => {
      for await (const { text } of readLogs(log.source, { follow: true })) read.push(text)
    })()
    const numbers = Array.from({ length: 500 }, (_, n) => `${n}`)
    for (const text of numbers.slice(1)) {
      await log.write(line(Number(text), text))
      if (Number(text) % 50 === 0) await log.rotate(30)
    }
    log.end()
    await reading
    expect(read).toEqual(numbers)
  })

  test('begins with the last lines, and before there is a file', async () => {
    await using log = await testLog()
    const reading = texts(readLogs(log.source, { follow: true, tail: 1 }))
    await log.write(line(1, 'first'), line(2, 'second'))
    log.end()
    expect((await reading).at(-1)).toBe('second')
  })

  test('waits for the rest of a line that is being written', async () => {
    await using log = await testLog()
    const whole = line(1, 'whole')
    await log.write(whole.subarray(0, 40))
    const reading = texts(readLogs(log.source, { follow: true }))
    await log.write(whole.subarray(40))
    log.end()
    expect(await reading).toEqual(['whole'])
  })

  test('ends at a time, with an abort, and when nobody wants more', async () => {
    await using log = await testLog()
    await log.write(line(1, 'one'))
    expect(await texts(readLogs(log.source, { follow: true, until: Date.now() }))).toEqual(['one'])
    const controller = new AbortController()
    const reading = texts(readLogs(log.source, { follow: true, signal: controller.signal }))
    controller.abort()
    await expect(reading).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
    for await (const { text } of readLogs(log.source, { follow: true })) {
      expect(text).toBe('one')
      break
    }
  })
})
