import { expect, test } from 'vitest'
import { deferred } from '../../src/util/deferred.ts'
import { Semaphore } from '../../src/util/semaphore.ts'

test('lets so many in at once, the rest in their order', async () => {
  const places = new Semaphore(2)
  const doors = Array.from({ length: 4 }, () => deferred<void>())
  const entered: number[] = []
  const all = doors.map((door, index) =>
    places.run(async () => {
      entered.push(index)
      await door.promise
    }),
  )
  await new Promise(setImmediate)
  expect(entered).toEqual([0, 1])
  doors[1]?.resolve()
  await all[1]
  await new Promise(setImmediate)
  expect(entered).toEqual([0, 1, 2])
  for (const door of doors) door.resolve()
  await Promise.all(all)
  expect(entered).toEqual([0, 1, 2, 3])
})

test('gives the place back after a failure', async () => {
  const places = new Semaphore(1)
  await expect(places.run(() => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(await places.run(async () => 'yes')).toBe('yes')
})

test('forgets who gave up waiting', async () => {
  const places = new Semaphore(1)
  const door = deferred<void>()
  const first = places.run(() => door.promise)
  const controller = new AbortController()
  const second = places.run(async () => 'second', controller.signal)
  const third = places.run(async () => 'third')
  controller.abort()
  await expect(second).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
  door.resolve()
  await first
  expect(await third).toBe('third')
})
