import { describe, expect, test } from 'vitest'
import { planBridge, planBridgeRules } from '../../../src/network/firewall/bridge.ts'
import { baseTable, portElements } from '../../../src/network/firewall/firewall.ts'
import { network, subnets } from '../records.ts'

const both = network('a', { subnets: subnets('10.1.0.0/24', 'fd00:1::/64'), mtu: 1400 })
const named = (commands: object[]) =>
  commands.map((command) => Object.entries(command)[0] as [string, { element: { name: string } }])

describe('a bridge', () => {
  test('has the addresses of the gateways, and forwards', () => {
    const name = 'kl-aaaaaaaaaaaa'
    const links = planBridge(both)
    const mac = '02:42:0a:01:00:01'
    expect(links[0]).toEqual({ do: 'add', name, kind: 'bridge', mac, mtu: 1400 })
    expect(links).toContainEqual({ do: 'address', name, address: '10.1.0.1', prefix: 24 })
    expect(links).toContainEqual({ do: 'address', name, address: 'fd00:1::1', prefix: 64 })
    const forwards = links.filter((each) => each.do === 'sysctl' && each.path.endsWith('forward'))
    expect(forwards).toHaveLength(1)
    expect(JSON.stringify(links)).toContain('net/ipv6/conf/all/forwarding')
  })

  test('of an internal network does not, and is in the set of those', () => {
    const internal = { ...both, internal: true }
    expect(JSON.stringify(planBridge(internal))).not.toContain('forward')
    const sets = named(planBridgeRules(internal, 'add')).map(([, { element }]) => element.name)
    expect(sets).toEqual(['bridges', 'within', 'internal'])
  })

  test('takes away what it has added', () => {
    const [added, deleted] = (['add', 'delete'] as const).map((command) =>
      named(planBridgeRules(both, command)),
    )
    expect(added?.map(([command]) => command)).toEqual(['add', 'add', 'add', 'add'])
    expect(added?.map(([, { element }]) => element.name)).toEqual([
      'bridges',
      'within',
      'masquerade4',
      'masquerade6',
    ])
    expect(deleted?.map(([, body]) => body)).toEqual(added?.map(([, body]) => body))
  })
})

describe('the table', () => {
  test('is made by who is first, as a whole, and holds every set that elements are put in', () => {
    const [first, ...rest] = baseTable()
    expect(first).toEqual({ create: { table: { family: 'inet', name: 'keelson' } } })
    expect(rest.every((command) => 'add' in command)).toBe(true)
    const text = JSON.stringify(rest)
    for (const name of ['bridges', 'within', 'internal', 'masquerade4', 'ports4', 'ports6at']) {
      expect(text).toContain(`"name":"${name}"`)
    }
  })

  test('drops nothing of others: only what goes into or out of our bridges', () => {
    const drops = baseTable()
      .map((command) => JSON.stringify(command))
      .filter((text) => text.includes('"drop"'))
    expect(drops).toHaveLength(3)
    for (const drop of drops) expect(drop).toMatch(/"@(?:internal|bridges)"/)
  })
})

test('a published port is one element, by protocol and port, and by address where there is one', () => {
  const port = {
    protocol: 'tcp',
    family: 4,
    hostPort: 8080,
    address: '10.1.0.2',
    port: 80,
  } as const
  expect(portElements('add', [port, { ...port, host: '127.0.0.1' }])).toEqual([
    {
      add: {
        element: {
          family: 'inet',
          table: 'keelson',
          name: 'ports4',
          elem: [[{ concat: ['tcp', 8080] }, { concat: ['10.1.0.2', 80] }]],
        },
      },
    },
    {
      add: {
        element: {
          family: 'inet',
          table: 'keelson',
          name: 'ports4at',
          elem: [[{ concat: ['127.0.0.1', 'tcp', 8080] }, { concat: ['10.1.0.2', 80] }]],
        },
      },
    },
  ])
})
