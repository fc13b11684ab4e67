import { readdirSync } from 'node:fs'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { JournalReader } from '../../src/store/journal-reader.ts'
import { Journal } from '../../src/store/journal.ts'
import { temporaryDirectory, type TemporaryDirectory } from '../support/temp.ts'

let temp: TemporaryDirectory
beforeEach(async () => (temp = await temporaryDirectory()))
afterEach(async () => await temp[Symbol.asyncDispose]())

const event = (number: number) => ({ time: new Date(0).toISOString(), type: 'test', number })
const numberOf = (line: string) => (JSON.parse(line) as { number: number }).number
const OLD = { from: 'oldest', follow: false, hold: true } as const

async function numbers(reader: JournalReader, count = Infinity): Promise<number[]> {
  const found: number[] = []
  if (count === 0) return found
  for await (const line of reader.lines()) if (found.push(numberOf(line)) === count) break
  return found
}

it('is read as it was written, by several at once', async () => {
  await using one = new Journal(temp.join('j'))
  await using two = new Journal(temp.join('j'))
  for (let n = 0; n < 100; n++) {
    const journal = n % 2 ? one : two
    journal.append(event(n))
    journal.flush()
  }
  expect(await numbers(new JournalReader(temp.join('j'), OLD))).toEqual(
    Array.from({ length: 100 }, (_, n) => n),
  )
})

it('is followed from the moment that was asked for', async () => {
  await using journal = new Journal(temp.join('j'))
  journal.append(event(1))
  journal.flush()
  const reader = new JournalReader(temp.join('j'), { from: 'now', follow: true, hold: true })
  journal.append(event(2))
  journal.flush()
  const found = numbers(reader, 3)
  journal.append(event(3))
  setImmediate(() => journal.append(event(4)))
  expect(await found).toEqual([2, 3, 4])
})

it('goes on in the next segment, and keeps the newest ones', async () => {
  await using journal = new Journal(temp.join('j'), { segmentBytes: 200 })
  const reader = new JournalReader(temp.join('j'), { from: 'now', follow: true, hold: true })
  const found = numbers(reader, 20)
  for (let n = 0; n < 20; n++) {
    journal.append(event(n))
    journal.flush()
  }
  expect(await found).toEqual(Array.from({ length: 20 }, (_, n) => n))
  for (let n = 20; n < 100; n++) {
    journal.append(event(n))
    journal.flush()
  }
  expect(readdirSync(temp.join('j'))).toHaveLength(8)
  const kept = await numbers(new JournalReader(temp.join('j'), OLD))
  expect(kept.at(-1)).toBe(99)
  expect(kept).toEqual(kept.map((_, index) => (kept[0] ?? 0) + index))
})

it('tells a reader that is too slow', async () => {
  await using journal = new Journal(temp.join('j'), { segmentBytes: 200 })
  journal.append(event(0))
  journal.flush()
  const lines = new JournalReader(temp.join('j'), {
    from: 'oldest',
    follow: true,
    hold: true,
  }).lines()
  expect(numberOf((await lines.next()).value ?? '')).toBe(0)
  for (let n = 1; n < 100; n++) {
    journal.append(event(n))
    journal.flush()
  }
  const rest = async () => {
    for await (const _ of lines);
  }
  await expect(rest()).rejects.toEqual(expect.objectContaining({ code: 'KEELSON_EVENTS_LOST' }))
})

it('ends when its reader is told to', async () => {
  await using _ = new Journal(temp.join('j'))
  const stop = new AbortController()
  const reader = new JournalReader(temp.join('j'), {
    from: 'now',
    follow: true,
    hold: true,
    signal: stop.signal,
  })
  const found = numbers(reader)
  setImmediate(() => stop.abort())
  expect(await found).toEqual([])
})
