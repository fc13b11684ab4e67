import { expect, test } from 'vitest'
import { cpuOfV2, ioOfV2, memoryOfV2, pidsOf } from '../../../src/container/stats/v2.ts'

test('processor time is nanoseconds, with what the limit held up', () => {
  const text =
    'usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 9\nnr_throttled 3\nthrottled_usec 70\n'
  expect(cpuOfV2({ 'cpu.stat': text })).toEqual({
    usageNs: 1_500_000,
    userNs: 1_000_000,
    systemNs: 500_000,
    throttledNs: 70_000,
    throttledPeriods: 3,
  })
  // Without the controller the kernel counts the time all the same.
  expect(cpuOfV2({ 'cpu.stat': 'usage_usec 1\nuser_usec 1\nsystem_usec 0\n' })).toMatchObject({
    throttledNs: 0,
    throttledPeriods: 0,
  })
  expect(cpuOfV2({})).toBeUndefined()
})

test('memory is counted as Docker does: without the inactive part of the page cache', () => {
  const files = {
    'memory.current': '10000\n',
    'memory.stat': 'anon 4000\nfile 5000\ninactive_file 3000\nactive_file 2000\n',
    'memory.max': '20000\n',
    'memory.swap.current': '100\n',
    'memory.peak': '15000\n',
  }
  expect(memoryOfV2(files)).toEqual({
    usage: 7000,
    limit: 20_000,
    cache: 5000,
    rss: 4000,
    swap: 100,
    peak: 15_000,
  })
  const bare = {
    'memory.current': '10\n',
    'memory.stat': 'inactive_file 30\n',
    'memory.max': 'max\n',
  }
  expect(memoryOfV2(bare)).toEqual({ usage: 0, cache: 0, rss: 0, swap: 0 })
  expect(memoryOfV2({})).toBeUndefined()
})

test('transfers are summed over devices', () => {
  const text =
    '8:0 rbytes=100 wbytes=20 rios=3 wios=4 dbytes=7 dios=1\n253:1 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n8:16 \n'
  expect(ioOfV2({ 'io.stat': text })).toEqual({
    readBytes: 101,
    writeBytes: 22,
    readOps: 6,
    writeOps: 8,
  })
  expect(ioOfV2({ 'io.stat': '' })).toMatchObject({ readBytes: 0 })
  expect(ioOfV2({})).toBeUndefined()
})

test('processes have a limit or none', () => {
  expect(pidsOf({ 'pids.current': '3\n', 'pids.max': '64\n' })).toEqual({ current: 3, limit: 64 })
  expect(pidsOf({ 'pids.current': '3\n', 'pids.max': 'max\n' })).toEqual({ current: 3 })
  expect(pidsOf({})).toBeUndefined()
})
