import { describe, expect, test } from 'vitest'
import {
  inOrder,
  linkName,
  macOf,
  planEndpoint,
  planRemoval,
  planRoutes,
} from '../../../src/network/endpoint/endpoint.ts'
import { address, endpoint, network, subnets } from '../records.ts'

const both = network('a', { subnets: subnets('10.1.0.0/24', 'fd00:1::/64') })

describe('a link', () => {
  test('is a pair, of which one end is in the bridge and the other inside under its own name', () => {
    const outside = linkName(both.id, 'c'.repeat(64))
    const plan = planEndpoint(endpoint(both, ['10.1.0.2', 'fd00:1::2'], { index: 3 }))
    expect(plan.host).toEqual([
      { do: 'delete', name: outside },
      {
        do: 'add',
        name: outside,
        kind: 'veth',
        peer: 'eth3',
        peerMac: '02:42:0a:00:00:02',
      },
      { do: 'set', name: outside, master: 'kl-aaaaaaaaaaaa', hairpin: true, up: true },
    ])
    expect(plan.inside).toEqual([
      { do: 'address', name: 'eth3', address: '10.1.0.2', prefix: 24 },
      { do: 'address', name: 'eth3', address: 'fd00:1::2', prefix: 64 },
      { do: 'set', name: 'eth3', up: true },
    ])
  })

  test('is isolated, and as wide, as its network is', () => {
    const record = network('a', { interContainer: false, mtu: 9000 })
    const { host } = planEndpoint(endpoint(record, ['10.0.0.2']))
    expect(host[1]).toMatchObject({ mtu: 9000 })
    expect(host[2]).toMatchObject({ isolated: true })
  })

  test('of macvlan is on the interface of the host, and goes from where it got to', () => {
    const record = network('a', { driver: 'macvlan', parent: 'up0', mtu: 1400 })
    const on = endpoint(record, ['10.0.0.2'], { index: 1 })
    expect(planEndpoint(on).host).toEqual([
      {
        do: 'add',
        name: 'eth1',
        kind: 'macvlan',
        parent: 'up0',
        mode: 'bridge',
        mac: '02:42:0a:00:00:02',
        mtu: 1400,
      },
    ])
    expect(planRemoval(on)).toEqual({ host: [], inside: [{ do: 'delete', name: 'eth1' }] })
  })

  test('has a name that fits, and differs by network and container', () => {
    const names = new Set(['a', 'b'].flatMap((one) => ['c', 'd'].map((two) => linkName(one, two))))
    expect(names.size).toBe(4)
    for (const name of names) expect(name.length).toBeLessThan(15)
  })
})

test.each([
  ['10.89.0.2', '02:42:0a:59:00:02'],
  ['255.255.255.255', '02:42:ff:ff:ff:ff'],
  ['fd00::1:2', '02:42:00:01:00:02'],
])('the hardware address of %s is %s', (ip, mac) => {
  expect(macOf(address(ip))).toBe(mac)
})

const via = (name: string, gateway: string) => ({ do: 'route', name, via: gateway })

describe('the way to everything else', () => {
  const four = network('b', { subnets: subnets('10.2.0.0/24') })
  const inside = network('d', { subnets: subnets('10.4.0.0/24'), internal: true })
  const [onBoth, onFour, onInside] = [
    endpoint(both, ['10.1.0.2', 'fd00:1::2'], { index: 0 }),
    endpoint(four, ['10.2.0.2'], { index: 1, priority: 5 }),
    endpoint(inside, ['10.4.0.2'], { index: 2, priority: 9 }),
  ]

  test.each([
    ['nowhere', [], []],
    ['not by an internal network', [onInside], []],
    ['by both families', [onBoth], [via('eth0', '10.1.0.1'), via('eth0', 'fd00:1::1')]],
    [
      'in each family by the first that has it',
      inOrder([onBoth, onFour, onInside]),
      [via('eth1', '10.2.0.1'), via('eth0', 'fd00:1::1')],
    ],
  ])('goes %s', (_name, endpoints, expected) => {
    expect([...planRoutes(endpoints).values()]).toEqual(expected)
  })

  test('goes by the older of equals', () => {
    const later = endpoint(four, ['10.2.0.2'], { index: 1 })
    expect(inOrder([onBoth, later])).toEqual([onBoth, later])
  })
})
