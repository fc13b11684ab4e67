import { rm } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { syncDirectory } from '../../src/store/records.ts'
import { temporaryDirectory } from '../support/temp.ts'

test('those who come while a directory is synced share the next sync', async () => {
  await using temp = await temporaryDirectory()
  const first = syncDirectory(temp.path)
  const [second, third] = [syncDirectory(temp.path), syncDirectory(temp.path)]
  expect(second).toBe(third)
  expect(second).not.toBe(first)
  await Promise.all([first, second, third])
})

test('a sync that fails is the failure of those who asked for it, and of nobody later', async () => {
  await using temp = await temporaryDirectory()
  const path = temp.join('gone')
  const failing = [syncDirectory(path), syncDirectory(path)]
  for (const each of await Promise.allSettled(failing)) expect(each.status).toBe('rejected')
  await rm(path, { recursive: true, force: true })
  await syncDirectory(temp.path)
})
