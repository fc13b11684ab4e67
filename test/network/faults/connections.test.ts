import { expect, test } from 'vitest'
import { parseConnections } from '../../../src/network/faults/connections.ts'

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue\n'

test('connections are those that a RST ends', () => {
  const text = `${HEAD}   0: 0200000A:0FA0 0300000A:0050 01 00000000:00000000
   1: 00000000:0050 00000000:0000 0A 00000000:00000000
   2: 0200000A:0FA1 0300000A:0050 06 00000000:00000000
   3: 0200000A:0FA2 0300000A:0050 08 00000000:00000000
`
  expect(parseConnections(text)).toEqual([
    { local: '10.0.0.2', localPort: 4000, remote: '10.0.0.3', remotePort: 80 },
    { local: '10.0.0.2', localPort: 4002, remote: '10.0.0.3', remotePort: 80 },
  ])
})

const mapped = (hex: string) => `0000000000000000FFFF0000${hex}`

test('of IPv6, where those of IPv4 may be too', () => {
  const v6 = '66E770FD4C53CA210000000003000000'
  const text = `${HEAD}   0: ${v6}:97C8 ${v6.slice(0, -8)}04000000:0050 01 0
   1: ${mapped('0300000A')}:0050 ${mapped('0200000A')}:0FA0 01 0
`
  expect(parseConnections(text)).toEqual([
    {
      local: 'fd70:e766:21ca:534c::3',
      localPort: 38856,
      remote: 'fd70:e766:21ca:534c::4',
      remotePort: 80,
    },
    { local: '10.0.0.3', localPort: 80, remote: '10.0.0.2', remotePort: 4000 },
  ])
})
