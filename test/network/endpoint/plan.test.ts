import { describe, expect, test } from 'vitest'
import { planChange, planNetworks, publishingEndpoint } from '../../../src/network/endpoint/plan.ts'
import { linkName } from '../../../src/network/endpoint/endpoint.ts'
import { NetworkPlaces } from '../../../src/network/places.ts'
import { endpoint, network, subnets } from '../records.ts'

const places = new NetworkPlaces('/root', '/run')
const container = 'c'.repeat(64)
const [a, b] = [
  network('a', { subnets: subnets('10.1.0.0/24', 'fd00:1::/64') }),
  network('b', { subnets: subnets('10.2.0.0/24') }),
]
const onA = endpoint(a, ['10.1.0.2', 'fd00:1::2'])
const onB = endpoint(b, ['10.2.0.2'], { index: 1, priority: 1 })
const ports = [{ container: 80, host: 8080, hostIp: undefined, protocol: 'tcp' as const }]
const resolvers = ['192.0.2.1']
const networking = (...endpoints: (typeof onA)[]) => ({ container, endpoints, ports, resolvers })

describe('the plan of a start', () => {
  test('gives names back before addresses, and its ports before those', () => {
    const { plan, undo } = planNetworks(places, networking(onB, onA))
    const file = `/run/networks/${b.id}/undo/${container}`
    expect(plan.remove).toEqual([
      '/names/net-b',
      '/names/net-a',
      file,
      '/claims/10.2.0.2',
      '/claims/10.1.0.2',
      '/claims/fd00:1::2',
    ])
    expect(undo).toEqual({ path: file, text: JSON.stringify(plan.firewall.end) })
  })

  test('asks the names of its networks in order, and the world only where there is a way to it', () => {
    const { names } = planNetworks(places, networking(onB, onA)).plan
    expect(names?.directories).toEqual([places.names(b.id), places.names(a.id)])
    expect(names?.upstream).toEqual(resolvers)
    const kept = endpoint({ ...a, internal: true }, ['10.1.0.2'])
    expect(planNetworks(places, networking(kept)).plan.names?.upstream).toEqual([])
    expect(planNetworks(places, networking()).plan).toMatchObject({
      host: [],
      inside: [],
      ports: [],
      remove: [],
      names: { upstream: [] },
    })
  })

  test('publishes on the first network that has a way in', () => {
    const kept = endpoint({ ...a, internal: true }, ['10.1.0.2'])
    const lan = endpoint(network('d', { driver: 'macvlan', parent: 'up0' }), ['10.0.0.2'])
    expect(publishingEndpoint([kept, lan, onB])).toBe(onB)
    expect(publishingEndpoint([kept])).toBe(kept)
    expect(publishingEndpoint([])).toBeUndefined()
  })
})

const link = (record: { id: string }) => linkName(record.id, container)

describe('a change', () => {
  test('to one more of a higher priority moves the way out and the ports', () => {
    const change = planChange(places, networking(onA), networking(onB, onA))
    expect(change.host.map((each) => 'name' in each && each.name)).toEqual([
      link(b),
      link(b),
      link(b),
    ])
    expect(change.inside.at(-1)).toEqual({
      do: 'route',
      name: 'eth1',
      via: '10.2.0.1',
      replace: true,
    })
    // IPv6 stays with the one that has it.
    expect(change.inside.filter((each) => each.do === 'route')).toHaveLength(1)
    expect(change.undo).toEqual({
      host: [{ do: 'delete', name: link(b) }],
      inside: [{ do: 'route', name: 'eth0', via: '10.1.0.1', replace: true }],
    })
    const rules = JSON.stringify(change.firewall)
    expect(rules).toContain('10.1.0.2')
    expect(rules).toContain('10.2.0.2')
    expect(change.release).toEqual([`/run/networks/${a.id}/undo/${container}`])
    expect(change.undoFile?.path).toBe(`/run/networks/${b.id}/undo/${container}`)
    // What is held for it are the sockets of its start; what the kernel does not forward is passed on to where the rest goes.
    const held = planNetworks(places, networking(onA)).plan.ports
    const where = ({ protocol, address, port }: (typeof held)[0]) => [protocol, address, port]
    expect(change.plan.ports.map(where)).toEqual(held.map(where))
    expect(change.plan.ports.map(({ relay }) => relay?.address)).toEqual([undefined, '10.2.0.2'])
  })

  test('to one more of a lower priority moves nothing', () => {
    const later = { ...onB, priority: -1 }
    const change = planChange(places, networking(onA), networking(onA, later))
    expect(change.inside.filter((each) => each.do === 'route')).toEqual([])
    expect([change.firewall, change.release]).toEqual([[], []])
  })

  test('to one less gives back what it had there', () => {
    const change = planChange(places, networking(onB, onA), networking(onA))
    expect(change.host).toEqual([{ do: 'delete', name: link(b) }])
    expect(change.inside).toEqual([{ do: 'route', name: 'eth0', via: '10.1.0.1', replace: true }])
    expect(change.release).toEqual([
      '/names/net-b',
      `/run/networks/${b.id}/undo/${container}`,
      '/claims/10.2.0.2',
    ])
    expect(change.plan.remove).not.toContain('/claims/10.2.0.2')
  })

  test('to none takes the ports away', () => {
    const change = planChange(places, networking(onA), networking())
    expect(change.firewall.every((command) => 'delete' in command)).toBe(true)
    expect(change.firewall).toHaveLength(2)
    expect(change.undoFile).toBeUndefined()
    expect(change.inside).toEqual([])
  })
})
