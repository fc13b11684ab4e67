import { expect, test } from 'vitest'
import { deferred } from '../../src/util/deferred.ts'
import { Flights } from '../../src/util/flights.ts'

interface Step {
  kind: 'step' | 'note'
  at: number
}

/** Work that a test ends by hand. */
function work() {
  const end = deferred<string>()
  let signal: AbortSignal | undefined
  let emit: ((event: Step) => void) | undefined
  let starts = 0
  return {
    end,
    starts: () => starts,
    signal: () => signal as AbortSignal,
    emit: (event: Step) => emit?.(event),
    start: async (given: AbortSignal, say: (event: Step) => void) => {
      starts++
      signal = given
      emit = say
      return await end.promise
    },
  }
}

test('runs once for all who want it', async () => {
  const flights = new Flights<string, Step>('The work')
  const once = work()
  const all = [1, 2, 3].map(() => flights.join('key', once.start))
  expect(flights.has('key')).toBe(true)
  once.end.resolve('done')
  expect(await Promise.all(all)).toEqual(['done', 'done', 'done'])
  expect(once.starts()).toBe(1)
  expect(flights.has('key')).toBe(false)
})

test('fails for all', async () => {
  const flights = new Flights<string, Step>('The work')
  const once = work()
  const all = [1, 2].map(() => flights.join('key', once.start))
  once.end.reject(new Error('failed'))
  const results = await Promise.allSettled(all)
  expect(results.map((result) => result.status)).toEqual(['rejected', 'rejected'])
})

test('goes on when one leaves', async () => {
  const flights = new Flights<string, Step>('The work')
  const once = work()
  const controller = new AbortController()
  const first = flights.join('key', once.start, { signal: controller.signal })
  const second = flights.join('key', once.start)
  controller.abort()
  await expect(first).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
  expect(once.signal().aborted).toBe(false)
  once.end.resolve('done')
  expect(await second).toBe('done')
})

test('stops when the last one leaves, and lets him go when it has ended', async () => {
  const flights = new Flights<string, Step>('The work')
  const once = work()
  const controller = new AbortController()
  const both = [1, 2].map(() => flights.join('key', once.start, { signal: controller.signal }))
  let left = 0
  for (const each of both) each.catch(() => left++)
  controller.abort()
  expect(once.signal().aborted).toBe(true)
  await new Promise(setImmediate)
  expect(left).toBe(1)
  once.end.reject(new Error('stopped'))
  const results = await Promise.allSettled(both)
  for (const result of results) {
    expect(result).toMatchObject({ status: 'rejected', reason: { code: 'KEELSON_ABORTED' } })
  }
})

test('begins anew for who comes after the last one left', async () => {
  const flights = new Flights<string, Step>('The work')
  const [old, fresh] = [work(), work()]
  const controller = new AbortController()
  const left = flights.join('key', old.start, { signal: controller.signal })
  controller.abort()
  const joined = flights.join('key', fresh.start)
  fresh.end.resolve('fresh')
  expect(await joined).toBe('fresh')
  old.end.resolve('old')
  await expect(left).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
})

test('tells who comes late the last of each kind', async () => {
  const flights = new Flights<string, Step>('The work')
  const once = work()
  const early: Step[] = []
  const late: Step[] = []
  const first = flights.join('key', once.start, { onEvent: (event) => early.push(event) })
  once.emit({ kind: 'step', at: 1 })
  once.emit({ kind: 'note', at: 2 })
  once.emit({ kind: 'step', at: 3 })
  const second = flights.join('key', once.start, { onEvent: (event) => late.push(event) })
  once.emit({ kind: 'step', at: 4 })
  once.end.resolve('done')
  await Promise.all([first, second])
  expect(early.map((event) => event.at)).toEqual([1, 2, 3, 4])
  expect(late.map((event) => event.at)).toEqual([3, 2, 4])
})
