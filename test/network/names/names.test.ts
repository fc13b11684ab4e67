import { describe, expect, test } from 'vitest'
import { parseAddress, type Address } from '../../../src/network/addresses/address.ts'
import { planNames, resolversOf, reverseName } from '../../../src/network/names/names.ts'

const NOWHERE = () => undefined
const FIRST = (link: string) => (link === 'eth0' ? 3 : undefined)

describe('the resolvers of a resolv.conf', () => {
  test('are its name servers, with those on loopback', () => {
    const file = '# mine\nnameserver 127.0.0.53\n  nameserver\t2001:db8::1 \nsearch nameserver\n'
    expect(resolversOf(file, NOWHERE)).toEqual(['127.0.0.53', '2001:db8::1'])
  })

  test('may be on one link only', () => {
    const file = 'nameserver fe80::1%eth0\nnameserver fe80::2%gone\n'
    expect(resolversOf(file, FIRST)).toEqual(['[fe80::1%3]:53'])
  })

  test('are nothing else', () => {
    expect(
      resolversOf('nameserver\nnameserver example.com\nnameserverx 192.0.2.1', NOWHERE),
    ).toEqual([])
    expect(resolversOf('', NOWHERE)).toEqual([])
  })
})

test('an address is looked up under its parts, the last one first', () => {
  expect(reverseName(parseAddress('10.89.0.2') as Address)).toBe('2.0.89.10.in-addr.arpa')
  expect(reverseName(parseAddress('2001:db8::567:89ab') as Address)).toBe(
    'b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa',
  )
})

test('the service listens where no server of the container does, and is found at port 53', () => {
  const { names, inside } = planNames({
    container: 'box',
    directories: ['/run/names'],
    resolvers: ['/run/resolvers'],
    upstream: ['192.0.2.1'],
  })
  expect(names).toEqual({
    listen: '127.0.0.11:61053',
    container: 'box',
    resolvers: ['/run/resolvers'],
    directories: ['/run/names'],
    upstream: ['192.0.2.1'],
  })
  expect(JSON.stringify(inside)).toContain(
    '{"concat":["127.0.0.11","udp",53]},{"concat":["127.0.0.11",61053]}',
  )
})
