import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { wait, type Container, type CreateOptions } from '../../src/index.ts'
import { networked, sh } from '../support/networked.ts'

const on = networked()
const { start } = on
const addressOf = async (container: Container, family: 4 | 6 = 4) => {
  const { containers } = await on.network.inspect()
  const addresses = containers[container.id]?.addresses ?? []
  return addresses.find((each) => each.includes(':') === (family === 6)) ?? ''
}
/** A container that answers every connection with a line, and does so already. */
async function serve(line: string, options: Partial<CreateOptions> = {}): Promise<Container> {
  const command = ['/bin/busybox', 'nc', '-ll', '-p', '80', '-e', '/bin/echo', line]
  const container = await start({ command, ...options })
  await container.ready(wait.port(80), { timeout: '20s' })
  return container
}

describe('containers of a network', () => {
  it('reach each other by IPv4 and IPv6, and the host', async () => {
    const server = await serve('hello')
    const client = await start()
    for (const family of [4, 6] as const) {
      const address = await addressOf(server, family)
      const { stdout, stderr } = await sh(client, `/bin/busybox nc -w 5 ${address} 80 </dev/null`)
      expect([stdout, stderr]).toEqual(['hello\n', ''])
    }
    const [subnet] = (await on.network.inspect()).subnets
    const ping = await sh(client, `/bin/busybox ping -c 1 -w 5 ${subnet?.gateway}`)
    expect(ping.stdout).toContain('1 packets received')
  })

  it('do not reach those of another', async () => {
    await on.test.engine.networks.create({ name: 'other' })
    const server = await serve('secret')
    const client = await start({ networks: 'other' })
    const address = await addressOf(server)
    const { exitCode, stdout } = await sh(client, `/bin/busybox nc -w 1 ${address} 80 </dev/null`)
    expect([exitCode, stdout]).toEqual([1, ''])
  })

  it('do not reach each other where that is forbidden', async () => {
    await on.test.engine.networks.create({ name: 'apart', interContainer: false })
    const server = await serve('secret', { networks: 'apart' })
    const client = await start({ networks: 'apart' })
    const { containers } = await (await on.test.engine.networks.get('apart')).inspect()
    const [address = ''] = containers[server.id]?.addresses ?? []
    const { exitCode } = await sh(client, `/bin/busybox nc -w 1 ${address} 80 </dev/null`)
    expect(exitCode).toBe(1)
  })

  it('get the address and hardware address that were asked for, or are told who has it', async () => {
    await on.test.engine.networks.create({ name: 'fixed', subnets: ['10.99.7.0/24'] })
    const networks = [{ network: 'fixed', ip: '10.99.7.77', mac: '02:00:00:00:00:07' }]
    const first = await start({ networks })
    const { stdout } = await sh(first, '/bin/busybox ip addr show eth0')
    expect(stdout).toContain('inet 10.99.7.77/24')
    expect(stdout).toContain('link/ether 02:00:00:00:00:07')
    await expect(start({ networks })).rejects.toMatchObject({
      code: 'KEELSON_ADDRESS_IN_USE',
      container: first.id,
    })
    await first.stop({ timeout: 0 })
    await start({ networks })
  })

  it('may be on several, with the way out by the one of the highest priority', async () => {
    await on.test.engine.networks.create({ name: 'one', subnets: ['10.99.1.0/24'] })
    await on.test.engine.networks.create({ name: 'two', subnets: ['10.99.2.0/24'] })
    const container = await start({ networks: ['one', { network: 'two', priority: 5 }] })
    const { stdout } = await sh(container, '/bin/busybox ip route')
    expect(stdout).toContain('default via 10.99.2.1 dev eth0')
    expect(stdout).toContain('10.99.1.0/24 dev eth1')
  })
})

describe('published ports', () => {
  it('are reached from loopback, from the own container and from another host', async () => {
    const container = await serve('published', { ports: ['18080:80'] })
    const nc = ['busybox', 'nc', '-w', '5']
    expect((await on.host.exec(...nc, '127.0.0.1', '18080')).stdout).toBe('published\n')
    expect((await on.host.exec(...nc, '192.0.2.1', '18080')).stdout).toBe('published\n')
    expect((await on.host.outside(...nc, '192.0.2.1', '18080')).stdout).toBe('published\n')
    const [subnet] = (await on.network.inspect()).subnets
    const hairpin = await sh(container, `/bin/busybox nc -w 5 ${subnet?.gateway} 18080 </dev/null`)
    expect(hairpin.stdout).toBe('published\n')
    await container.remove({ force: true })
    expect((await on.host.exec(...nc, '127.0.0.1', '18080')).code).toBe(1)
  })

  it('stay those of a container that starts again', async () => {
    const container = await serve('again', { ports: ['18083:80'], restart: 'always' })
    await container.restart({ timeout: 0 })
    await container.ready(wait.port(80), { timeout: '20s' })
    const { startedAt, pid } = await container.state()
    process.kill(pid, 'SIGKILL')
    const again = async () =>
      (await container.state()).startedAt?.getTime() !== startedAt?.getTime()
    await expect.poll(again, { timeout: 20_000 }).toBe(true)
    await container.ready(wait.port(80), { timeout: '20s' })
    const nc = ['busybox', 'nc', '-w', '5', '127.0.0.1', '18083']
    expect((await on.host.exec(...nc)).stdout).toBe('again\n')
  })

  it('that are taken are told before anything starts', async () => {
    await serve('first', { ports: ['18081:80'] })
    await expect(start({ ports: ['18081:80'] })).rejects.toMatchObject({
      code: 'KEELSON_PORT_IN_USE',
      port: 18081,
      protocol: 'tcp',
    })
  })
})

describe('the world', () => {
  it('is reached under the address of the host, but from an internal network', async () => {
    const container = await start()
    await on.test.engine.networks.create({ name: 'inside', internal: true })
    const kept = await start({ networks: 'inside' })
    const ping = '/bin/busybox ping -c 1 -w 2 192.0.2.2'
    expect((await sh(container, ping)).stdout).toContain('1 packets received')
    expect((await sh(kept, ping)).exitCode).toBe(1)
  })

  it('reaches no container that publishes nothing', async () => {
    const server = await serve('secret')
    const address = await addressOf(server)
    await on.host.outside('ip', 'route', 'add', `${address}/32`, 'via', '192.0.2.1')
    const { code, stdout } = await on.host.outside('busybox', 'nc', '-w', '1', address, '80')
    expect([code, stdout]).toEqual([1, ''])
    expect((await on.host.exec('busybox', 'nc', '-w', '5', address, '80')).stdout).toBe('secret\n')
  })
})

describe('a host whose firewall drops what is forwarded', () => {
  it('is told of when a network is made on it', async () => {
    const docker =
      'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'
    await on.host.exec('nft', docker)
    try {
      await on.test.engine.networks.create({ name: 'inside', internal: true })
      await start({ networks: 'inside' })
      expect(on.warnings).toEqual([])
      await start()
      expect(on.warnings).toEqual([
        { code: 'network-forward-drop', message: expect.stringContaining('ip filter FORWARD') },
      ])
    } finally {
      await on.host.exec('nft', 'delete', 'table', 'ip', 'filter')
    }
  })
})

describe('networks', () => {
  it('are found by name and id, listed by filters, and refused twice', async () => {
    const { engine } = on.test
    expect((await engine.networks.get(on.network.id.slice(0, 8))).name).toBe('net')
    await engine.networks.create({ name: 'labelled', labels: { a: 'b' } })
    const found = await engine.networks.list({ filters: { label: 'a=b' } })
    expect(found.map(({ name }) => name)).toEqual(['labelled'])
    await expect(engine.networks.create({ name: 'net' })).rejects.toMatchObject({
      code: 'KEELSON_NAME_IN_USE',
    })
    const [subnet] = (await on.network.inspect()).subnets
    await expect(
      engine.networks.create({ name: 'same', subnets: [subnet?.subnet ?? ''] }),
    ).rejects.toMatchObject({ code: 'KEELSON_SUBNET_IN_USE' })
  })

  it('in use are not removed, and leave nothing when they are', async () => {
    const container = await start()
    await expect(on.network.remove()).rejects.toMatchObject({
      code: 'KEELSON_NETWORK_IN_USE',
      containers: [container.id],
    })
    const { interface: bridge } = await on.network.inspect()
    expect((await on.host.exec('ip', '-o', 'link')).stdout).toContain(bridge)
    await container.remove({ force: true })
    await on.test.engine.close()
    on.test = Object.assign(on.test, {
      engine: await on.host.open({ root: on.test.root, runRoot: on.test.runRoot }),
    })
    await (await on.test.engine.networks.get('net')).remove()
    expect((await on.host.exec('ip', '-o', 'link')).stdout).not.toContain(bridge)
    const rules = await on.host.exec('nft', 'list', 'table', 'inet', 'keelson')
    expect(rules.stdout).not.toContain(bridge)
    expect(await readdir(join(on.test.runRoot, 'networks'))).not.toContain(on.network.id)
  })
})
