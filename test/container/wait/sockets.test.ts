import { createServer } from 'node:net'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import {
  canonicalAddress,
  parseSockets,
  readListening,
} from '../../../src/container/wait/sockets.ts'

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n'

test('tells listening sockets from connections', () => {
  const text = `${HEAD}   0: 00000000:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1138 1 0 100 0 0 10 0
   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1139 1 0 100 0 0 10 0
   2: 0100007F:9131 0100007F:A828 01 00000000:00000000 03:00000D8B 00000000     0        0 0 3 0
`
  expect(parseSockets(text, 'tcp')).toEqual([
    { protocol: 'tcp', address: '0.0.0.0', port: 5432 },
    { protocol: 'tcp', address: '127.0.0.1', port: 80 },
  ])
})

const listener = (address: string) =>
  `   0: ${address}:0050 ${'0'.repeat(32)}:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1 0\n`

test('reads addresses of IPv6', () => {
  const all = ['0'.repeat(32), `${'0'.repeat(24)}01000000`, 'B80D0120000000000000000042000000']
  const sockets = parseSockets(HEAD + all.map(listener).join(''), 'tcp')
  expect(sockets.map(({ address }) => address)).toEqual(['::', '::1', '2001:db8::42'])
  expect(canonicalAddress('2001:0db8:0:0:0:0:0:0042')).toBe('2001:db8::42')
  expect(canonicalAddress('127.0.0.1')).toBe('127.0.0.1')
})

test('of UDP, only those without a peer', () => {
  const text = `${HEAD}  10: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0
  11: 0100007F:E001 0100007F:0035 01 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0
`
  expect(parseSockets(text, 'udp')).toEqual([{ protocol: 'udp', address: '0.0.0.0', port: 53 }])
})

test('finds what this process listens on', async () => {
  const server = createServer().listen(0, '::1')
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  onTestFinished(() => {
    server.close()
    socket.close()
  })
  await Promise.all([once(server, 'listening'), once(socket, 'listening')])
  const { port } = server.address() as AddressInfo
  expect(await readListening(process.pid)).toEqual(
    expect.arrayContaining([
      { protocol: 'tcp', address: '::1', port },
      { protocol: 'udp', address: '127.0.0.1', port: socket.address().port },
    ]),
  )
  expect(await readListening(2 ** 22 - 1)).toEqual([])
})
