import { expect, test } from 'vitest'
import { cpuOfV1, ioOfV1, memoryOfV1 } from '../../../src/container/stats/v1.ts'

test('processor time comes from cpuacct, what the limit held up from cpu', () => {
  const files = {
    'cpuacct.usage': '1500\n',
    'cpuacct.usage_user': '1000\n',
    'cpuacct.usage_sys': '500\n',
    'cpu.stat': 'nr_periods 9\nnr_throttled 3\nthrottled_time 70\n',
  }
  const times = { usageNs: 1500, userNs: 1000, systemNs: 500 }
  expect(cpuOfV1(files)).toEqual({ ...times, throttledNs: 70, throttledPeriods: 3 })
  expect(cpuOfV1({ ...files, 'cpu.stat': undefined })).toMatchObject({ throttledPeriods: 0 })
  expect(cpuOfV1({ 'cpu.stat': files['cpu.stat'] })).toBeUndefined()
})

test('memory counts the cgroups below, and no limit is a number near 2^63', () => {
  const files = {
    'memory.usage_in_bytes': '10000\n',
    'memory.stat':
      'cache 1\ninactive_file 1\ntotal_cache 5000\ntotal_rss 4000\ntotal_swap 9\ntotal_inactive_file 3000\n',
    'memory.limit_in_bytes': '9223372036854771712\n',
    'memory.max_usage_in_bytes': '15000\n',
  }
  const counted = { usage: 7000, cache: 5000, rss: 4000, swap: 9, peak: 15_000 }
  expect(memoryOfV1(files)).toEqual(counted)
  expect(memoryOfV1({ ...files, 'memory.limit_in_bytes': '20000\n' })).toEqual({
    ...counted,
    limit: 20_000,
  })
})

const table = (read: number, write: number) =>
  `8:0 Read ${read}\n8:0 Write ${write}\n8:0 Sync 99\n8:0 Total ${read + write}\n8:16 Read 1\n8:16 Write 2\nTotal 1234\n`

test('transfers are summed over devices, without the totals', () => {
  expect(
    ioOfV1({
      'blkio.throttle.io_service_bytes_recursive': table(100, 200),
      'blkio.throttle.io_serviced_recursive': table(10, 20),
    }),
  ).toEqual({ readBytes: 101, writeBytes: 202, readOps: 11, writeOps: 22 })
  expect(ioOfV1({ 'blkio.throttle.io_service_bytes_recursive': 'Total 0\n' })).toMatchObject({
    readBytes: 0,
  })
})
