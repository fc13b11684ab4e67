import { expect, test } from 'vitest'
import { parseNetworks } from '../../../src/container/stats/networks.ts'

const HEAD = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
`

test('each interface but loopback', () => {
  const text = `${HEAD}    lo:    1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0
  eth0: 1000      10    1    2    0     0          0         0     2000      20    3    4    0     0       0          0
long-name-15chr:5 6 7 8 0 0 0 0 9 10 11 12 0 0 0 0
`
  expect(parseNetworks(text)).toEqual({
    eth0: {
      rxBytes: 1000,
      rxPackets: 10,
      rxErrors: 1,
      rxDropped: 2,
      txBytes: 2000,
      txPackets: 20,
      txErrors: 3,
      txDropped: 4,
    },
    'long-name-15chr': {
      rxBytes: 5,
      rxPackets: 6,
      rxErrors: 7,
      rxDropped: 8,
      txBytes: 9,
      txPackets: 10,
      txErrors: 11,
      txDropped: 12,
    },
  })
  expect(parseNetworks(HEAD)).toEqual({})
})

test('a name that a container chose to do harm is a name', () => {
  const networks = parseNetworks(`${HEAD}__proto__: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n`)
  expect(Object.keys(networks)).toEqual(['__proto__'])
  expect(({} as Record<string, unknown>)['rxBytes']).toBeUndefined()
})
