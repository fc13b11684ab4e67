import { readdir } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { wait, type Container } from '../../src/index.ts'
import { lookUp, lookUpBlocking, nameServer } from '../support/names.ts'
import { ask, networkedWithNames, sh } from '../support/networked.ts'

const on = networkedWithNames()
const { start } = on
const addressesOf = async (container: Container, of = on.network) =>
  (await of.inspect()).containers[container.id]?.addresses ?? []

describe('names of a network', () => {
  it('are those of its containers: name, id, host name and aliases, in any case', async () => {
    const networks = [{ network: 'net', aliases: ['Postgres'] }]
    const server = await start({ name: 'db', hostname: 'db-1', networks })
    const client = await start()
    const [four = '', six = ''] = await addressesOf(server)
    for (const name of ['db', 'DB', 'db-1', 'postgres', server.id.slice(0, 12)]) {
      expect(await ask(client, 'resolve4', name)).toEqual([four])
      expect(await ask(client, 'resolve6', name)).toEqual([six])
    }
    expect(await ask(client, 'reverse', four)).toEqual(['db'])
    expect(await ask(client, 'reverse', six)).toEqual(['db'])
    expect(await ask(client, 'resolve4', 'nobody')).toBe('ENOTFOUND')
  })

  it('are found by the resolver of the image', async () => {
    const command = ['/bin/busybox', 'nc', '-ll', '-p', '80', '-e', '/bin/echo', 'hello']
    const server = await start({ name: 'web', command })
    await server.ready(wait.port(80))
    const client = await start({ dnsSearch: ['corp.test'] })
    const { stdout } = await sh(client, '/bin/busybox nc -w 5 web 80 </dev/null')
    expect(stdout).toBe('hello\n')
    const conf = await sh(client, 'cat /etc/resolv.conf')
    expect(conf.stdout).toContain('nameserver 127.0.0.11\n')
    expect(conf.stdout).toContain('search corp.test\n')
    expect(conf.stdout).not.toContain('192.0.2.2')
  })

  it('have every container that shares them, and no address of a family that there is none of', async () => {
    const plain = await on.test.engine.networks.create({ name: 'plain' })
    const networks = [{ network: 'plain', aliases: ['workers'] }]
    const workers = [await start({ networks }), await start({ networks })]
    const all = await Promise.all(workers.map((worker) => addressesOf(worker, plain)))
    const [asker] = workers
    const found = (await ask(asker as Container, 'resolve4', 'workers')) as string[]
    expect(found.toSorted()).toEqual(all.flat().toSorted())
    expect(await ask(asker as Container, 'resolve6', 'workers')).toBe('ENODATA')
  })

  it('of another network are not known', async () => {
    await on.test.engine.networks.create({ name: 'other' })
    await start({ name: 'secret', networks: 'other' })
    const client = await start()
    expect(await ask(client, 'resolve4', 'secret')).toBe('ENOTFOUND')
  })

  it('follow a rename, a restart and a stop', async () => {
    const server = await start({ name: 'old' })
    const client = await start()
    await server.rename('new')
    const [address = ''] = await addressesOf(server)
    expect(await ask(client, 'resolve4', 'new')).toEqual([address])
    expect(await ask(client, 'resolve4', 'old')).toBe('ENOTFOUND')
    expect(await ask(client, 'reverse', address)).toEqual(['new'])
    await server.restart({ timeout: 0 })
    expect(await ask(client, 'resolve4', 'new')).toEqual([(await addressesOf(server))[0]])
    expect(await ask(server, 'resolve4', 'new')).toEqual([(await addressesOf(server))[0]])
    await server.stop({ timeout: 0 })
    expect(await ask(client, 'resolve4', 'new')).toBe('ENOTFOUND')
  })

  it('are answered while this program is busy, and when it is gone', async () => {
    const server = await start({ name: 'db', detached: true })
    const client = await start({ detached: true })
    const addresses = (await addressesOf(server)).slice(0, 1)
    const { pid } = await client.state()
    expect(lookUpBlocking(pid, 'resolve4', 'db')).toEqual(addresses)
    await on.test.engine.close()
    try {
      expect(await lookUp(pid, 'resolve4', 'db')).toEqual(addresses)
    } finally {
      const { root, runRoot } = on.test
      Object.assign(on.test, { engine: await on.host.open({ root, runRoot }) })
    }
  })

  it('are known to a run, too', async () => {
    await start({ name: 'db' })
    const { stdout } = await on.test.engine.run(
      on.test.image,
      ['/bin/busybox', 'nslookup', '-type=a', 'db'],
      { networks: 'net' },
    )
    expect(stdout).toMatch(/Name:\s+db\nAddress: 10\./)
  })

  it('leave nothing behind', async () => {
    const server = await start({ name: 'db' })
    expect(await names()).toContain('db')
    await server.remove({ force: true })
    expect(await names()).toEqual(['host.keelson.internal', ...(await hostReverse())].toSorted())
  })

  it('leave port 53 to the container', async () => {
    const command = ['/bin/busybox', 'nc', '-ll', '-p', '53', '-e', '/bin/echo', 'mine']
    const server = await start({ name: 'ns', command })
    await server.ready(wait.port(53))
    expect(await ask(server, 'resolve4', 'ns')).toEqual((await addressesOf(server)).slice(0, 1))
  })
})

const names = async () =>
  (await readdir(`${on.test.runRoot}/networks/${on.network.id}/names`)).toSorted()
const hostReverse = async () => (await names()).filter((name) => name.endsWith('.arpa'))

describe('the host', () => {
  it('is host.keelson.internal, and what extraHosts calls it', async () => {
    const container = await start({ extraHosts: { hub: 'host-gateway' } })
    const gateways = (await on.network.inspect()).subnets.map(({ gateway }) => gateway)
    expect(await ask(container, 'resolve4', 'host.keelson.internal')).toEqual([gateways[0]])
    expect(await ask(container, 'resolve6', 'host.keelson.internal')).toEqual([gateways[1]])
    const { stdout } = await sh(container, 'cat /etc/hosts')
    for (const gateway of gateways) expect(stdout).toContain(`${gateway}\thub\n`)
    await expect(
      start({ networks: 'none', extraHosts: { hub: 'host-gateway' } }),
    ).rejects.toMatchObject({ code: 'KEELSON_INVALID_OPTION', option: 'extraHosts' })
  })
})

/** A program that answers every connection with a line. */
const lines = (...where: [port: number, host?: string]) =>
  `require('node:net').createServer((socket) => socket.end('from the host\\n')).listen(...${JSON.stringify(where)})`

describe('what the host serves', () => {
  it('is reached by that name where it listens on all addresses, and not on its loopback', async () => {
    await using _everywhere = await on.host.serve(lines(9001))
    await using _loopback = await on.host.serve(lines(9002, '127.0.0.1'))
    await on.test.engine.networks.create({ name: 'inside', internal: true })
    for (const networks of ['net', 'inside']) {
      const container = await start({ networks })
      const asked = (port: number) =>
        sh(container, `/bin/busybox nc -w 2 host.keelson.internal ${port} </dev/null`)
      expect((await asked(9001)).stdout).toBe('from the host\n')
      expect((await asked(9002)).exitCode).toBe(1)
    }
  })
})

describe('other names', () => {
  it('are asked of the resolvers, with what EDNS says', async () => {
    const container = await start()
    expect(await ask(container, 'resolve4', 'plain.example.test')).toEqual(['198.51.100.7'])
    expect(await ask(container, 'resolve4', 'none.example.test')).toBe('ENOTFOUND')
    const [[how]] = (await ask(container, 'resolveTxt', 'how.example.test')) as [[string]]
    expect(how).toMatch(/^udp \d+$/)
  })

  it('have more addresses than a datagram holds, by TCP', async () => {
    const container = await start()
    const found = (await ask(container, 'resolve4', 'big.example.test')) as string[]
    expect(found).toHaveLength(60)
  })

  it('are asked of the next resolver when one does not answer or cannot tell', async () => {
    const silent = await start({ dns: ['192.0.2.9', '192.0.2.2'] })
    expect(await ask(silent, 'resolve4', 'plain.example.test')).toEqual(['198.51.100.7'])
    const nobody = await start({ dns: ['192.0.2.1'] })
    expect(await ask(nobody, 'resolve4', 'plain.example.test')).toBe('ESERVFAIL')
    const mute = await start()
    expect(await ask(mute, 'resolve4', 'broken.example.test')).toBe('ESERVFAIL')
    expect(await ask(mute, 'resolve4', 'silent.example.test')).toBe('ESERVFAIL')
  })

  it('are asked of a resolver on the loopback of the host, as systemd-resolved is', async () => {
    await using _ = await nameServer(on.host.namespaces.host, '127.0.0.53')
    const container = await start({ dns: ['127.0.0.53'] })
    expect(await ask(container, 'resolve4', 'plain.example.test')).toEqual(['198.51.100.7'])
    expect(await ask(container, 'resolve4', 'big.example.test')).toHaveLength(60)
  })

  it('are looked for in search domains, in the order that ndots says', async () => {
    const asked: string[] = []
    await using _ = await on.network.resolve(({ name, type }) => {
      if (type === 'A') asked.push(name)
      return null
    })
    const orders: string[][] = []
    for (const dnsOptions of [['ndots:1'], ['ndots:2', 'timeout:3']]) {
      const container = await start({ dnsSearch: ['corp.test', 'example.test'], dnsOptions })
      expect((await sh(container, 'cat /etc/resolv.conf')).stdout).toContain(
        `search corp.test example.test\noptions ${dnsOptions.join(' ')}\n`,
      )
      await sh(container, '/bin/busybox ping -c 1 -w 1 a.b')
      orders.push(asked.splice(0))
    }
    const found = ['a.b.corp.test', 'a.b.example.test']
    expect(orders).toEqual([
      ['a.b', ...found],
      [...found, 'a.b'],
    ])
  })

  it('are not told to an internal network', async () => {
    await on.test.engine.networks.create({ name: 'inside', internal: true })
    const kept = await start({ name: 'kept', networks: 'inside' })
    expect(await ask(kept, 'resolve4', 'kept')).toHaveLength(1)
    expect(await ask(kept, 'resolve4', 'plain.example.test')).toBe('ESERVFAIL')
    expect(await ask(kept, 'resolve4', 'unqualified')).toBe('ENOTFOUND')
  })
})

describe('a hostile container', () => {
  it('gets nothing else by its questions, and others still have their answers', async () => {
    const container = await start({ name: 'box' })
    const questions = [
      Buffer.alloc(0),
      Buffer.from('x'),
      Buffer.alloc(600, 0xff),
      question('..'),
      question('../../secret'),
      question('/etc'),
    ]
    for (const bytes of questions) {
      const socket = await container.connect(53, { host: '127.0.0.11' })
      const length = Buffer.alloc(2)
      length.writeUInt16BE(bytes.length)
      socket.end(Buffer.concat([length, bytes]))
      const answer = await buffer(socket)
      // At most an answer without a record.
      if (answer.length > 0) expect(answer.readUInt16BE(8)).toBe(0)
    }
    const idle = await Promise.all(
      Array.from({ length: 80 }, () => container.connect(53, { host: '127.0.0.11' })),
    )
    expect(await ask(container, 'resolve4', 'box')).toEqual(
      (await addressesOf(container)).slice(0, 1),
    )
    for (const socket of idle) socket.destroy()
  })
})

/** For an address of what is one label, whatever is in it. */
function question(label: string): Buffer {
  const head = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, label.length]
  return Buffer.concat([Buffer.from(head), Buffer.from(label), Buffer.from([0, 0, 1, 0, 1])])
}
