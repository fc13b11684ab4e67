import { existsSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { wait, type Container, type CreateOptions, type Image } from '../../src/index.ts'
import { networked } from '../support/networked.ts'

const on = networked()
const OWN4 = '192.0.2.1'
const OWN6 = '2001:db8::1'

/** Echoes, by TCP on 80 until the other side ends, by UDP on 53. */
const echo = (udp: 'udp4' | 'udp6') => `
  require('node:net').createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {}).pipe(socket)
  }).listen(80)
  const udp = require('node:dgram').createSocket('${udp}').bind(53)
  udp.on('message', (message, { port, address }) => udp.send(message, port, address))
`
/** Says what comes back, or what went wrong. A datagram counts only from where it was asked for. */
const client = (protocol: 'tcp' | 'udp', host: string, port: number, text: string) =>
  protocol === 'tcp'
    ? `const socket = require('node:net').connect({ host: '${host}', port: ${port} })
       let said = ''
       socket.on('data', (data) => (said += data)).on('error', ({ code }) => (said = code))
       socket.on('close', () => console.log(said)).end(${text})`
    : `const udp = require('node:dgram').createSocket('udp${isIPv6(host) ? 6 : 4}')
       const say = (text) => { console.log(String(text)); process.exit() }
       udp.on('message', say).on('error', ({ code }) => say(code))
       udp.connect(${port}, '${host}', () => udp.send(${text}))
       setTimeout(say, 2000, 'silence')`
const ask = async (
  from: 'exec' | 'outside',
  protocol: 'tcp' | 'udp',
  host: string,
  port: number,
  text = "'hello'",
) => {
  const program = client(protocol, host, port, text)
  return (await on.host[from](process.execPath, '-e', program)).stdout.trim()
}

let node: Image
beforeAll(async () => {
  node = await on.test.engine.images.fromHost(['node'])
})
beforeEach(async () => {
  await on.test.engine.networks.create({ name: 'four' })
})
const listening = async () => (await on.host.exec('ss', '-Hltn')).stdout
const serve = async (
  ports: CreateOptions['ports'],
  networks: string,
  udp: 'udp4' | 'udp6' = 'udp4',
): Promise<Container> => {
  const command = ['node', '-e', echo(udp)]
  const options = { image: node, command, networks, ...(ports && { ports }) }
  const container = await on.test.engine.containers.run(options)
  await container.ready(wait.all([wait.port(80), wait.port(53, { protocol: 'udp' })]))
  return container
}

describe.each([
  ['of IPv4 alone', 'four', 'udp4'],
  ['of both families', 'net', 'udp6'],
] as const)('the ports of a container %s', (_what, network, udp) => {
  it('are reached by both families: from loopback, from this host and from another', async () => {
    await serve(['18100:80', '18100:53/udp'], network, udp)
    for (const protocol of ['tcp', 'udp'] as const) {
      for (const host of ['127.0.0.1', '::1', OWN4, OWN6]) {
        expect([protocol, host, await ask('exec', protocol, host, 18_100)]).toEqual([
          protocol,
          host,
          'hello',
        ])
      }
      for (const host of [OWN4, OWN6]) {
        expect([protocol, host, await ask('outside', protocol, host, 18_100)]).toEqual([
          protocol,
          host,
          'hello',
        ])
      }
    }
  })
})

describe('what is passed on for ::1', () => {
  it('is whole, both ways, each to its end', async () => {
    await serve(['18101:80'], 'four')
    const said = await ask('exec', 'tcp', '::1', 18_101, "'abcdefghij'.repeat(300_000)")
    expect(said === 'abcdefghij'.repeat(300_000)).toBe(true)
    const many = Array.from({ length: 8 }, (_, n) => ask('exec', 'tcp', '::1', 18_101, `'${n}'`))
    expect(await Promise.all(many)).toEqual(many.map((_, n) => String(n)))
  })

  it('is cut off where nobody listens, and gone with the container', async () => {
    const container = await serve(['18102:81'], 'four')
    expect(await ask('exec', 'tcp', '::1', 18_102)).toBe('ECONNRESET')
    expect(await listening()).toContain('18102')
    await container.remove({ force: true })
    expect(await listening()).not.toContain('18102')
    expect(await ask('exec', 'tcp', '::1', 18_102)).toBe('ECONNREFUSED')
  })

  it('follows the container to another network', async () => {
    const container = await serve(['18109:80'], 'four')
    await on.network.connect(container)
    await (await on.test.engine.networks.get('four')).disconnect(container)
    for (const host of ['127.0.0.1', '::1', OWN4, OWN6]) {
      expect([host, await ask('exec', 'tcp', host, 18_109)]).toEqual([host, 'hello'])
    }
  })

  it('goes on with the next run of the container', async () => {
    const container = await serve(['18103:80'], 'four')
    expect(await ask('exec', 'tcp', '::1', 18_103)).toBe('hello')
    await container.restart({ timeout: 0 })
    await container.ready(wait.port(80))
    expect(await ask('exec', 'tcp', '::1', 18_103)).toBe('hello')
  })
})

describe('an internal network', () => {
  it('has its ports on this host alone', async () => {
    await on.test.engine.networks.create({ name: 'inside', internal: true })
    await serve(['18104:80'], 'inside')
    for (const host of ['127.0.0.1', '::1']) {
      expect(await ask('exec', 'tcp', host, 18_104)).toBe('hello')
    }
    expect(await ask('outside', 'tcp', OWN6, 18_104)).toBe('ECONNREFUSED')
  })
})

describe('a published port', () => {
  it('is in use when it is so for either family', async () => {
    const listen = `require('node:net').createServer().listen({ host: '::', port: 18105, ipv6Only: true })`
    await using _ = await on.host.serve(listen)
    await expect(on.start({ networks: 'four', ports: ['18105:80'] })).rejects.toMatchObject({
      code: 'KEELSON_PORT_IN_USE',
      port: 18_105,
      address: '::',
    })
    expect(await on.test.engine.containers.list()).toEqual([])
  })

  it('may be at one address of the host, or at one that is there', async () => {
    await serve([`${OWN4}:18106:80`, '[::1]:18107:80', '127.0.0.1:18108:80'], 'four')
    expect(await ask('outside', 'tcp', OWN4, 18_106)).toBe('hello')
    expect(await ask('exec', 'tcp', '127.0.0.1', 18_106)).toBe('ECONNREFUSED')
    expect(await ask('exec', 'tcp', '::1', 18_107)).toBe('hello')
    expect(await ask('outside', 'tcp', OWN6, 18_107)).toBe('ECONNREFUSED')
    expect(await ask('exec', 'tcp', '127.0.0.1', 18_108)).toBe('hello')
    expect(await ask('outside', 'tcp', OWN4, 18_108)).toBe('ECONNREFUSED')
    await expect(
      on.start({ networks: 'four', ports: ['198.51.100.9:18109:80'] }),
    ).rejects.toMatchObject({ code: 'KEELSON_INVALID_OPTION', option: 'ports' })
  })

  it('is free for the next as soon as a run has ended', async () => {
    const options = { networks: 'four', ports: ['18110:80'] }
    for (let time = 0; time < 5; time++) await on.test.engine.run(node, ['node', '-e', ''], options)
  })

  it('may be a range of them', async () => {
    await serve(['18110-18112:79-81'], 'four')
    expect(await ask('exec', 'tcp', '127.0.0.1', 18_111)).toBe('hello')
    expect(await ask('exec', 'tcp', '127.0.0.1', 18_112)).toBe('ECONNREFUSED')
  })

  it('of SCTP is one where the kernel has it, and else refused before anything starts', async () => {
    const start = on.start({ networks: 'four', ports: ['18113:80/sctp'] })
    const failure: unknown = await start.then(
      () => undefined,
      (error: unknown) => error,
    )
    // A kernel that has it as a module loads that for the socket.
    if (existsSync('/proc/net/sctp')) {
      expect(failure).toBeUndefined()
      const elements = await on.host.exec('nft', 'list', 'table', 'inet', 'keelson')
      expect(elements.stdout).toMatch(/sctp . 18113 : 10\./)
    } else {
      expect(failure).toMatchObject({ code: 'KEELSON_UNSUPPORTED', protocol: 'sctp' })
      expect(await on.test.engine.containers.list()).toEqual([])
    }
  })
})
