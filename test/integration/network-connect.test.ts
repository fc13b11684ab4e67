import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { wait, type Container, type CreateOptions, type Network } from '../../src/index.ts'
import { joinNetwork } from '../../src/network/endpoint/join.ts'
import { NetworkPlaces } from '../../src/network/places.ts'
import { ask, networkedWithNames, sh } from '../support/networked.ts'

const on = networkedWithNames()
const { start } = on
const make = (name: string, more: object = {}): Promise<Network> =>
  on.test.engine.networks.create({ name, ...more })
const networksOf = async (container: Container) => (await container.inspect()).networks
const addressOn = async (container: Container, name: string) =>
  (await networksOf(container)).find((each) => each.name === name)?.addresses[0] ?? ''
const interfaces = async (container: Container) => {
  const { stdout } = await sh(container, 'ls /sys/class/net /proc/sys/net/ipv4/conf')
  return [...new Set(stdout.match(/eth\d+/g))].toSorted()
}
const defaults = async (container: Container) =>
  (await sh(container, '/bin/busybox ip route | grep default')).stdout.trim()
const serve = async (line: string, options: Partial<CreateOptions> = {}): Promise<Container> => {
  const command = ['/bin/busybox', 'nc', '-ll', '-p', '80', '-e', '/bin/echo', line]
  const container = await start({ command, ...options })
  await container.ready(wait.port(80), { timeout: '20s' })
  return container
}
const dial = async (port: string) =>
  (await on.host.outside('busybox', 'nc', '-w', '5', '192.0.2.1', port)).stdout
const rules = async () => (await on.host.exec('nft', 'list', 'table', 'inet', 'keelson')).stdout
const claims = async (network: Network) => Object.keys((await network.inspect()).containers)

describe('a running container that is connected', () => {
  it('has another interface and address, and is found by name on both networks', async () => {
    const other = await make('other', { subnets: ['10.99.3.0/24'] })
    const server = await serve('hello', { name: 'server' })
    const near = await start()
    const far = await start({ networks: 'other', name: 'far' })
    expect(await ask(far, 'resolve4', 'server')).toBe('ENOTFOUND')
    expect(await ask(server, 'resolve4', 'far')).toBe('ENOTFOUND')
    await other.connect(server, { aliases: ['api'], ip: '10.99.3.77', mac: '02:00:00:00:00:77' })

    expect(await interfaces(server)).toEqual(['eth0', 'eth1'])
    const { stdout } = await sh(server, '/bin/busybox ip addr show eth1')
    expect(stdout).toContain('inet 10.99.3.77/24')
    expect(stdout).toContain('link/ether 02:00:00:00:00:77')
    for (const name of ['server', 'api']) {
      expect(await ask(far, 'resolve4', name)).toEqual(['10.99.3.77'])
      const answer = await sh(far, `/bin/busybox nc -w 5 ${name} 80 </dev/null`)
      expect([answer.stdout, answer.stderr]).toEqual(['hello\n', ''])
    }
    expect(await ask(server, 'resolve4', 'far')).toEqual([await addressOn(far, 'other')])
    expect(await ask(near, 'resolve4', 'server')).toEqual([await addressOn(server, 'net')])
    const hosts = await sh(server, 'cat /etc/hosts')
    expect(hosts.stdout).toContain(`10.99.3.77\t${server.id.slice(0, 12)}\n`)
    // The way out stays where it was.
    const [subnet] = (await on.network.inspect()).subnets
    expect(await defaults(server)).toBe(`default via ${subnet?.gateway} dev eth0`)
    expect(await networksOf(server)).toMatchObject([
      { name: 'net', interface: 'eth0' },
      { name: 'other', interface: 'eth1', addresses: ['10.99.3.77'], aliases: ['api'] },
    ])
    expect((await server.inspect()).options.networks).toHaveLength(2)
    expect(await claims(other)).toContain(server.id)
  })

  it('loses all of it when it is disconnected, and its address is free', async () => {
    const other = await make('other', { subnets: ['10.99.3.0/24'] })
    const server = await start({ name: 'server' })
    const far = await start({ networks: 'other' })
    const told: unknown[] = []
    for (const type of ['network.connect', 'network.disconnect'] as const) {
      on.test.engine.on(type, ({ network, container, containerName }) =>
        told.push([type, network, container, containerName]),
      )
    }
    await other.connect('server', { ip: '10.99.3.77' })
    await other.disconnect('server')
    expect(told).toEqual([
      ['network.connect', other.id, server.id, 'server'],
      ['network.disconnect', other.id, server.id, 'server'],
    ])
    expect(await interfaces(server)).toEqual(['eth0'])
    expect(await ask(far, 'resolve4', 'server')).toBe('ENOTFOUND')
    expect((await sh(server, 'cat /etc/hosts')).stdout).not.toContain('10.99.3.77')
    expect(await claims(other)).toEqual([far.id])
    const next = await start({ networks: [{ network: 'other', ip: '10.99.3.77' }] })
    expect(await addressOn(next, 'other')).toBe('10.99.3.77')
    // The name of the interface that it had is not that of another.
    await other.connect(server)
    expect(await interfaces(server)).toEqual(['eth0', 'eth2'])
  })

  it('has the way out by the network of the highest priority', async () => {
    const [high, inside] = [
      await make('high', { subnets: ['10.99.4.0/24', 'fd00:99:4::/64'] }),
      await make('inside', { internal: true }),
    ]
    const container = await start()
    const [four, six] = (await on.network.inspect()).subnets
    const six6 = async () => (await sh(container, '/bin/busybox ip -6 route')).stdout
    await inside.connect(container, { priority: 20 })
    expect(await defaults(container)).toBe(`default via ${four?.gateway} dev eth0`)
    await high.connect(container, { priority: 10 })
    expect(await defaults(container)).toBe('default via 10.99.4.1 dev eth2')
    expect(await six6()).toMatch(/default via fd00:99:4::1 dev eth2/)
    expect((await six6()).match(/default/g)).toHaveLength(1)
    const ping = '/bin/busybox ping -c 1 -w 2 192.0.2.2'
    expect((await sh(container, ping)).stdout).toContain('1 packets received')
    await high.disconnect(container)
    expect(await defaults(container)).toBe(`default via ${four?.gateway} dev eth0`)
    expect(await six6()).toContain(`default via ${six?.gateway} dev eth0`)
    expect((await sh(container, ping)).stdout).toContain('1 packets received')
    await on.network.disconnect(container)
    expect(await defaults(container)).toBe('')
  })

  it('publishes its ports on the network that leads out', async () => {
    const [low, high] = [await make('low'), await make('high')]
    const server = await serve('here', { networks: 'low', ports: ['18090:80'] })
    expect(await dial('18090')).toBe('here\n')
    await high.connect(server, { priority: 1 })
    expect(await rules()).toContain(await addressOn(server, 'high'))
    expect(await dial('18090')).toBe('here\n')
    await high.disconnect(server)
    expect(await rules()).toContain(await addressOn(server, 'low'))
    expect(await dial('18090')).toBe('here\n')
    await low.disconnect(server)
    expect(await rules()).not.toContain('18090')
    await high.connect(server)
    expect(await dial('18090')).toBe('here\n')
    await server.remove({ force: true })
    expect(await rules()).not.toContain('18090')
    expect([await claims(low), await claims(high)]).toEqual([[], []])
  })

  it('keeps its networks over restarts, by its policy too, and gives them back at its end', async () => {
    const other = await make('other', { subnets: ['10.99.3.0/24'] })
    const container = await start({ restart: 'always', detached: true })
    await other.connect(container, { ip: '10.99.3.77' })
    const { pid } = await container.state()
    const again = new Promise((resolve) =>
      on.test.engine.on('container.start', (event) => event.pid !== pid && resolve(event)),
    )
    process.kill(pid, 'SIGKILL')
    expect(await again).toMatchObject({ container: container.id })
    await expect.poll(() => container.status()).toBe('running')
    expect((await container.state()).restartCount).toBe(1)
    expect(await interfaces(container)).toEqual(['eth0', 'eth1'])
    expect(await addressOn(container, 'other')).toBe('10.99.3.77')
    await container.restart({ timeout: 0 })
    expect(await addressOn(container, 'other')).toBe('10.99.3.77')
    expect(await interfaces(container)).toEqual(['eth0', 'eth1'])
    await on.network.disconnect(container)
    await container.restart({ timeout: 0 })
    expect((await networksOf(container)).map(({ name }) => name)).toEqual(['other'])
    await container.stop({ timeout: 0 })
    expect([await claims(on.network), await claims(other)]).toEqual([[], []])
    await container.start()
    expect(await addressOn(container, 'other')).toBe('10.99.3.77')
    await container.remove({ force: true })
    expect(await claims(other)).toEqual([])
  })

  it('may stand still', async () => {
    const other = await make('other')
    const container = await start()
    await container.pause()
    await other.connect(container)
    await on.network.disconnect(container)
    await container.unpause()
    expect(await interfaces(container)).toEqual(['eth1'])
  })

  it('has the ids of a user namespace', async () => {
    const other = await make('other')
    const container = await start({ userns: 'auto', networks: [] })
    expect(await interfaces(container)).toEqual([])
    await other.connect(container)
    expect(await interfaces(container)).toEqual(['eth0'])
    expect((await sh(container, 'cat /etc/hosts')).stdout).toContain(
      `${await addressOn(container, 'other')}\t`,
    )
  })
})

describe('a container that does not run', () => {
  it('is on the networks from its next start on', async () => {
    const other = await make('other', { subnets: ['10.99.3.0/24'] })
    const container = await on.test.engine.containers.create({
      image: on.test.image,
      command: ['sleep', '1000'],
      networks: 'net',
    })
    await other.connect(container, { ip: '10.99.3.9', aliases: ['nine'] })
    await on.network.disconnect(container)
    expect(await networksOf(container)).toEqual([])
    expect(await claims(other)).toEqual([])
    await container.start()
    expect(await networksOf(container)).toMatchObject([
      { name: 'other', addresses: ['10.99.3.9'], aliases: ['nine'], interface: 'eth0' },
    ])
  })
})

describe('what cannot be', () => {
  it('is refused by what is in the way, and nothing is changed', async () => {
    const other = await make('other', { subnets: ['10.99.3.0/24'] })
    const [container, holder] = [await start(), await start({ networks: 'other' })]
    const taken = await addressOn(holder, 'other')
    const refused = async (options: object, code: string, of = other) =>
      expect(of.connect(container, options)).rejects.toMatchObject({ code })
    await refused({}, 'KEELSON_NETWORK_CONNECTED', on.network)
    await refused({ ip: taken }, 'KEELSON_ADDRESS_IN_USE')
    await refused({ ip: '10.98.0.1' }, 'KEELSON_INVALID_OPTION')
    await refused({ ip: '10.99.3.1' }, 'KEELSON_INVALID_OPTION')
    await refused({ ip6: 'fd00::1' }, 'KEELSON_INVALID_OPTION')
    await refused({ alias: ['x'] }, 'KEELSON_INVALID_OPTION')
    await refused({ aliases: ['not a name'] }, 'KEELSON_INVALID_OPTION')
    await refused({ signal: AbortSignal.abort() }, 'KEELSON_ABORTED')
    await expect(other.disconnect(container)).rejects.toMatchObject({
      code: 'KEELSON_NETWORK_NOT_CONNECTED',
    })
    await other.disconnect(container, { force: true })
    await other.disconnect('nobody', { force: true })
    await expect(other.connect('nobody')).rejects.toMatchObject({
      code: 'KEELSON_CONTAINER_NOT_FOUND',
    })
    expect(await interfaces(container)).toEqual(['eth0'])
    expect(await claims(other)).toEqual([holder.id])
  })

  it('is another mode', async () => {
    for (const networks of ['none', 'host', { container: (await start()).id }] as const) {
      const { image, engine } = on.test
      const command = ['sleep', '1000']
      const container = await engine.containers.run({ image, command, networks })
      const mode = { code: 'KEELSON_NETWORK_MODE', networks }
      await expect(on.network.connect(container)).rejects.toMatchObject(mode)
      await expect(on.network.disconnect(container)).rejects.toMatchObject(mode)
    }
  })

  it('is a network or a container that was removed', async () => {
    const gone = await make('gone')
    await gone.remove()
    const container = await start()
    await expect(gone.connect(container)).rejects.toMatchObject({
      code: 'KEELSON_NETWORK_NOT_FOUND',
    })
    expect(await interfaces(container)).toEqual(['eth0'])
    await container.remove({ force: true })
    const other = await make('other')
    await expect(other.connect(container)).rejects.toMatchObject({
      code: 'KEELSON_CONTAINER_NOT_FOUND',
    })
  })

  it('is an interface that the container has made itself, and nothing is left of the attempt', async () => {
    const other = await make('other')
    const container = await start({ capAdd: ['NET_ADMIN'] })
    await sh(container, '/bin/busybox ip link add eth1 type bridge')
    expect(await interfaces(container)).toEqual(['eth0', 'eth1'])
    await expect(other.connect(container)).rejects.toMatchObject({
      code: 'KEELSON_NETWORK_FAILED',
      errno: 'EEXIST',
    })
    expect(await claims(other)).toEqual([])
    expect((await on.host.exec('ip', '-o', 'link')).stdout.match(/kv\w+@/g)).toHaveLength(1)
  })
})

describe('several at once', () => {
  it('are done one after the other, by two programs too', async () => {
    const names = ['a', 'b', 'c', 'd']
    const networks = await Promise.all(names.map((name) => make(name)))
    const container = await start({ detached: true })
    const { root, runRoot } = on.test
    await using second = await on.host.open({ root, runRoot })
    const outcomes = await Promise.allSettled(
      networks.flatMap((network, n) => [
        network.connect(container),
        second.networks.get(names[n] ?? '').then((same) => same.connect(container.id)),
      ]),
    )
    const failed = outcomes.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []))
    expect(failed.map(({ code }) => code)).toEqual(names.map(() => 'KEELSON_NETWORK_CONNECTED'))
    expect(await interfaces(container)).toEqual(['eth0', 'eth1', 'eth2', 'eth3', 'eth4'])
    await Promise.all(networks.map((network) => network.disconnect(container)))
    expect(await interfaces(container)).toEqual(['eth0'])
    expect((await container.inspect()).options.networks).toHaveLength(1)
    for (const network of networks) expect(await claims(network)).toEqual([])
  })
})

describe('a program that is killed while it connects', () => {
  it('leaves a claim, which the next engine gives back; what is connected stays', async () => {
    const [other, third] = [await make('other'), await make('third')]
    const container = await start({ name: 'server', detached: true })
    const far = await start({ networks: 'other', detached: true })
    await third.connect(container)
    // As far as it had come: the address and the names are claimed, and nobody was asked to use them.
    const places = new NetworkPlaces(on.test.root, on.test.runRoot)
    const { directories } = await container.inspect()
    const self = { id: container.id, owner: directories.run, names: ['server'] }
    await joinNetwork(places, self, { network: other, aliases: [] }, 2)
    expect(await claims(other)).toContain(container.id)
    expect(await ask(far, 'resolve4', 'server')).toHaveLength(1)
    await using _ = await on.host.open({ root: on.test.root, runRoot: on.test.runRoot })
    expect(await claims(other)).toEqual([far.id])
    expect(await ask(far, 'resolve4', 'server')).toBe('ENOTFOUND')
    expect(await claims(third)).toEqual([container.id])
    expect(await claims(on.network)).toEqual([container.id])
    await other.connect(container)
    expect(await interfaces(container)).toEqual(['eth0', 'eth1', 'eth2'])
  })

  it('and its monitor with it leaves nothing of any network', async () => {
    const other = await make('other')
    const container = await start({ name: 'server', detached: true, ports: ['18091:80'] })
    await other.connect(container, { priority: 1 })
    const { monitor } = JSON.parse(
      await readFile(join((await container.inspect()).directories.record, 'state.json'), 'utf8'),
    ) as { monitor: number }
    process.kill(monitor, 'SIGKILL')
    await container.wait()
    expect([await claims(on.network), await claims(other)]).toEqual([[], []])
    expect(await rules()).not.toContain('18091')
    await expect
      .poll(async () => (await on.host.exec('ip', '-o', 'link')).stdout)
      .not.toContain('kv')
    await container.start()
    expect((await networksOf(container)).map(({ name }) => name)).toEqual(['other', 'net'])
  })
})

describe('a container that writes to its hosts file', () => {
  it('keeps what it wrote, and cannot make this program read without end', async () => {
    const other = await make('other')
    const container = await start()
    await sh(container, 'echo "192.0.2.9 mine" >> /etc/hosts')
    await other.connect(container)
    const address = await addressOn(container, 'other')
    expect((await sh(container, 'cat /etc/hosts')).stdout).toMatch(
      new RegExp(`192.0.2.9 mine\n${address}\t`),
    )
    await other.disconnect(container)
    const { stdout } = await sh(container, 'cat /etc/hosts')
    expect(stdout).toContain('192.0.2.9 mine\n')
    expect(stdout).not.toContain(address)
    await sh(container, '/bin/busybox truncate -s 1G /etc/hosts')
    await other.connect(container)
    const { directories } = await container.inspect()
    expect(await interfaces(container)).toEqual(['eth0', 'eth2'])
    await sh(container, ': > /etc/hosts')
    expect(await readFile(`${directories.run}/hosts`, 'utf8')).toBe('')
  })
})
