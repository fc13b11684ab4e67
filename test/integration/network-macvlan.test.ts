import { describe, expect, it, vi } from 'vitest'
import type { Network } from '../../src/index.ts'
import { networked, sh } from '../support/networked.ts'

const on = networked()
const { start } = on
const make = (more: object = {}): Promise<Network> =>
  on.test.engine.networks.create({
    name: 'lan',
    driver: 'macvlan',
    parent: 'up0',
    // The other host is the way to everything else.
    subnets: [{ subnet: '192.0.2.0/24', range: '192.0.2.128/25', gateway: '192.0.2.2' }],
    ...more,
  })
const ping = '/bin/busybox ping -c 1 -w 5 192.0.2.2'

describe('a macvlan network', () => {
  it('puts containers on the network of the host: other hosts see them as their equals', async () => {
    const lan = await make()
    const container = await start({
      networks: [{ network: 'lan', ip: '192.0.2.200', mac: '02:00:00:00:00:20' }],
    })
    expect((await sh(container, ping)).stdout).toContain('1 packets received')
    expect((await sh(container, '/bin/busybox ip route')).stdout).toContain(
      'default via 192.0.2.2 dev eth0',
    )
    const seen = await on.host.outside('busybox', 'ping', '-c', '1', '-w', '5', '192.0.2.200')
    expect(seen.stdout).toContain('1 packets received')
    const neighbours = await on.host.outside('ip', 'neigh', 'show', '192.0.2.200')
    expect(neighbours.stdout).toContain('02:00:00:00:00:20')
    expect(await lan.inspect()).toMatchObject({
      driver: 'macvlan',
      interface: 'up0',
      containers: { [container.id]: { addresses: ['192.0.2.200'] } },
    })
  })

  it('lets its containers reach each other by name', async () => {
    await make()
    await start({ name: 'one', networks: 'lan' })
    const two = await start({ networks: 'lan' })
    const { stdout } = await sh(two, '/bin/busybox ping -c 1 -w 5 one')
    expect(stdout).toContain('1 packets received')
  })

  it('is joined and left by containers that run', async () => {
    const lan = await make()
    const container = await start()
    const [subnet] = (await on.network.inspect()).subnets
    const route = async () =>
      (await sh(container, '/bin/busybox ip route | grep default')).stdout.trim()
    await lan.connect(container, { priority: 1 })
    expect(await route()).toBe('default via 192.0.2.2 dev eth1')
    expect((await sh(container, ping)).stdout).toContain('1 packets received')
    await lan.disconnect(container)
    expect(await route()).toBe(`default via ${subnet?.gateway} dev eth0`)
    expect((await sh(container, 'ls /proc/sys/net/ipv4/conf')).stdout).not.toContain('eth1')
    await container.remove({ force: true })
    // The kernel takes a network namespace apart in its own time.
    await vi.waitFor(
      async () => expect((await on.host.exec('ip', '-o', 'link')).stdout).not.toContain('kv'),
      { timeout: 30_000 },
    )
  })

  it('needs an interface of the host', async () => {
    await expect(make({ parent: 'nope0' })).rejects.toMatchObject({
      code: 'KEELSON_INVALID_OPTION',
      option: 'parent',
    })
    await on.host.exec('ip', 'link', 'add', 'gone0', 'type', 'veth', 'peer', 'name', 'gone1')
    await make({ parent: 'gone0' })
    await on.host.exec('ip', 'link', 'delete', 'gone0')
    await expect(start({ networks: 'lan' })).rejects.toMatchObject({
      code: 'KEELSON_INVALID_OPTION',
      option: 'parent',
    })
  })
})
