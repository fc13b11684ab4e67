import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { wait, type Container, type CreateOptions } from '../../src/index.ts'
import { networked, sh } from '../support/networked.ts'
import { program } from '../support/program.ts'

const on = networked()
const { start } = on

/** How many of so many pings were answered, and how long it took at least, in milliseconds. */
async function ping(from: Container, to: string, { count = 1, interval = 1 } = {}) {
  const options = `-q -c ${count} -i ${interval} -W 1`
  const { stdout } = await sh(from, `/bin/busybox ping ${options} ${to}`)
  const received = Number(/(\d+) packets received/.exec(stdout)?.[1])
  return { received, fastest: Number(/min\/avg\/max = ([\d.]+)/.exec(stdout)?.[1]) }
}

const answers = async (from: Container, to: string) => (await ping(from, to)).received > 0

/** A container whose port 80 gives back what it gets. */
async function echo(options: Partial<CreateOptions>): Promise<Container> {
  const command = ['/bin/busybox', 'nc', '-ll', '-p', '80', '-e', '/bin/cat']
  const container = await start({ command, ...options })
  await container.ready(wait.port(80), { timeout: '20s' })
  return container
}

/** A connection of one container to the echo of another; it stands. */
async function connection(from: Container, to: string) {
  const nc = await from.spawn(['/bin/busybox', 'nc', to, '80'])
  const lines = createInterface({ input: nc.stdout })
  const said: string[] = []
  lines.on('line', (line) => said.push(line))
  const say = (line: string) => nc.stdin.write(`${line}\n`)
  say('first')
  await once(lines, 'line')
  return { said, say, next: () => once(lines, 'line'), ended: nc.wait() }
}

/** How many TCP connections a container has. */
async function established(container: Container): Promise<number> {
  const { stdout } = await sh(container, '/bin/busybox netstat -tn')
  return stdout.match(/ESTABLISHED/g)?.length ?? 0
}

/** What faults have made on the host. */
async function remains(): Promise<string[]> {
  const [tables, links] = await Promise.all([
    on.host.exec('nft', 'list', 'tables'),
    on.host.exec('ip', '-brief', 'link'),
  ])
  return [tables, links].flatMap(({ stdout }) => stdout.match(/keelson-faults-\w+|kf-\w+/g) ?? [])
}

async function nothingRemains(): Promise<void> {
  // The kernel takes a namespace's links away in its own time.
  while ((await remains()).length > 0) await sleep(20)
}

afterEach(nothingRemains)

describe('a partition', () => {
  it('lets nothing through between two groups, in neither direction, and all else', async () => {
    const [app, database] = [await start({ name: 'app' }), await echo({ name: 'database' })]
    const other = await start({ name: 'other' })
    {
      await using _ = await on.network.partition([app], ['database'])
      expect(await answers(app, 'database')).toBe(false)
      expect(await answers(database, 'app')).toBe(false)
      expect((await sh(app, '/bin/busybox nc -w 1 database 80 </dev/null')).exitCode).toBe(1)
      expect(await answers(app, 'other')).toBe(true)
      expect(await answers(other, 'database')).toBe(true)
      expect(await answers(app, '192.0.2.2')).toBe(true)
    }
    // Who asked for the other's hardware address meanwhile asks again every second.
    expect((await ping(app, 'database', { count: 3 })).received).toBeGreaterThan(0)
    expect((await ping(database, 'app', { count: 3 })).received).toBeGreaterThan(0)
  })

  it('holds what a connection sends until it is healed', async () => {
    const app = await start({ name: 'app' })
    await echo({ name: 'database' })
    const { said, say, next } = await connection(app, 'database')
    const fault = await on.network.partition(['app'], ['database'])
    say('second')
    expect(await answers(app, 'database')).toBe(false)
    expect(said).toEqual(['first'])
    const later = next()
    await fault.heal()
    await later
    expect(said).toEqual(['first', 'second'])
    await fault.heal()
  })

  it('that rejects refuses new connections and resets others', async () => {
    const app = await start({ name: 'app' })
    await echo({ name: 'database' })
    const { say, ended } = await connection(app, 'database')
    await using _ = await on.network.partition(['app'], ['database'], { reject: true })
    const refused = await sh(app, '/bin/busybox nc -w 20 database 80 </dev/null')
    expect(refused.stderr).toContain('Connection refused')
    say('second')
    await ended
    expect(await answers(app, 'database')).toBe(false)
  })

  it('from the host is one from the world, too', async () => {
    const [app, other] = [await start({ name: 'app' }), await start({ name: 'other' })]
    const { gateway = '' } = (await on.network.inspect()).subnets[0] ?? {}
    await using _ = await on.network.partition(['app'], ['host'])
    expect(await answers(app, gateway)).toBe(false)
    expect(await answers(app, '192.0.2.2')).toBe(false)
    expect(await answers(app, 'other')).toBe(true)
    expect(await answers(other, '192.0.2.2')).toBe(true)
  })

  it('may be from a server of this program', async () => {
    const app = await start({ name: 'app' })
    const server = createServer((socket) => socket.end('hello\n').on('error', () => {}))
    await using _ = await on.network.listen('api', 80, server)
    const call = '/bin/busybox nc -w 1 api 80 </dev/null'
    {
      await using parted = await on.network.partition(['app'], ['api'])
      expect((await sh(app, call)).stdout).toBe('')
      await parted.heal()
    }
    await using slow = await on.network.link('app', 'api').latency(40).apply()
    expect((await sh(app, call)).stdout).toBe('hello\n')
    await slow.heal()
  })

  it('is not got round by a port that is published on the host', async () => {
    const app = await start({ name: 'app' })
    await echo({ name: 'database', ports: ['18090:80'] })
    const { gateway = '' } = (await on.network.inspect()).subnets[0] ?? {}
    const call = `echo hello | /bin/busybox nc -w 1 ${gateway} 18090`
    expect((await sh(app, call)).stdout).toBe('hello\n')
    await using _ = await on.network.partition(['app'], ['database'])
    expect((await sh(app, call)).stdout).toBe('')
  })

  it('follows a container that is started again, with another address', async () => {
    const app = await start({ name: 'app' })
    const database = await echo({ name: 'database' })
    await using _ = await on.network.partition(['app'], [database])
    await database.stop({ timeout: 0 })
    await database.start()
    await database.ready(wait.port(80), { timeout: '20s' })
    expect(await answers(app, 'database')).toBe(false)
  })
})

describe('a link', () => {
  it('with latency delays every packet, and only between its members', async () => {
    const app = await start({ name: 'app' })
    await start({ name: 'database' })
    await start({ name: 'other' })
    {
      await using _ = await on.network.link('app', 'database').latency('100ms').apply()
      expect((await ping(app, 'database')).fastest).toBeGreaterThanOrEqual(200)
      await using more = await on.network
        .link('database', 'app', { direction: 'forward' })
        .latency(150, { jitter: 50 })
        .apply()
      expect((await ping(app, 'database')).fastest).toBeGreaterThanOrEqual(300)
      await more.heal()
      const { fastest } = await ping(app, 'database', { count: 5, interval: 0.1 })
      expect(fastest).toBeLessThan(300)
      expect((await ping(app, 'other', { count: 5, interval: 0.1 })).fastest).toBeLessThan(100)
    }
    expect((await ping(app, 'database', { count: 5, interval: 0.1 })).fastest).toBeLessThan(100)
  })

  it('to the host delays what comes from the world, by ports and for IPv6 too', async () => {
    const app = await echo({ name: 'app', ports: ['18091:80'] })
    const { subnets } = await on.network.inspect()
    const gateways = subnets.map(({ gateway }) => gateway)
    await using _ = await on.network.link('app', 'host').latency('100ms').apply()
    for (const address of ['192.0.2.2', ...gateways]) {
      expect((await ping(app, address)).fastest).toBeGreaterThanOrEqual(200)
    }
    const begin = Date.now()
    const call = 'echo hello | busybox nc -w 20 192.0.2.1 18091'
    expect((await on.host.outside('sh', '-c', call)).stdout).toBe('hello\n')
    expect(Date.now() - begin).toBeGreaterThanOrEqual(400)
  })

  it('that loses packets loses the part that was said', async () => {
    const app = await start({ name: 'app' })
    await start({ name: 'database' })
    const many = { count: 400, interval: 0.005 }
    {
      await using _ = await on.network
        .link('app', 'database', { direction: 'forward' })
        .loss(0.5)
        .apply()
      const { received } = await ping(app, 'database', many)
      expect(received).toBeGreaterThan(120)
      expect(received).toBeLessThan(280)
    }
    await using _ = await on.network.link('app', 'database').loss('100%').apply()
    expect((await ping(app, 'database', { count: 20, interval: 0.005 })).received).toBe(0)
  })

  it('of little bandwidth lets no more through', async () => {
    const app = await start({ name: 'app' })
    const command = ['/bin/busybox', 'nc', '-ll', '-p', '9', '-e', '/bin/wc', '-c']
    const database = await start({ name: 'database', command })
    await database.ready(wait.port(9), { timeout: '20s' })
    await using _ = await on.network.link('app', 'database').bandwidth('2mbit').apply()
    const begin = Date.now()
    const call = 'dd if=/dev/zero bs=1024 count=512 | /bin/busybox nc database 9'
    expect((await sh(app, call)).stdout).toBe(`${512 * 1024}\n`)
    expect(Date.now() - begin).toBeGreaterThanOrEqual((512 * 1024 * 8) / 2000)
  })

  it('that is reset ends its connections for both ends, and no others', async () => {
    const silent = ['/bin/busybox', 'nc', '-ll', '-p', '80', '-e', '/bin/sleep', '1000']
    const [app, other] = [await start({ name: 'app' }), await start({ name: 'other' })]
    const database = await start({ name: 'database', command: silent })
    await database.ready(wait.port(80), { timeout: '20s' })
    const call = ['/bin/busybox', 'wget', '-O', '-', 'http://database/']
    const calls = [app, app, other].map((each) => each.exec(call, { reject: false }))
    while ((await established(database)) < 3) await sleep(20)
    const { resetConnections } = await on.network.link('app', 'database').reset().apply()
    expect(resetConnections).toBe(2)
    for (const ended of calls.slice(0, 2)) {
      expect((await ended).stderr).toContain('Connection reset by peer')
    }
    expect([await established(database), await established(other)]).toEqual([1, 1])
  })

  it('follows a container to another address', async () => {
    const app = await start({ name: 'app' })
    const database = await start({ name: 'database' })
    await using _ = await on.network.link('app', 'database').latency('100ms').apply()
    await database.stop({ timeout: 0 })
    await start({ name: 'between' })
    await database.start()
    expect((await ping(app, 'database')).fastest).toBeGreaterThanOrEqual(200)
    const { fastest } = await ping(app, 'between', { count: 5, interval: 0.1 })
    expect(fastest).toBeLessThan(100)
  })
})

describe('faults', () => {
  it('go with their network, with their containers, and with the program, however it ends', async () => {
    await on.test.engine.networks.create({ name: 'shared' })
    const [app, database] = await Promise.all(
      ['app', 'database'].map((name) => start({ name, networks: 'shared', detached: true })),
    )
    if (app === undefined || database === undefined) throw new Error('There is no container.')
    const { root, runRoot } = on.test
    const other = await program({ root, runRoot }, on.host)
    await other.ask(`
      const network = await engine.networks.get('shared')
      await network.partition(['app'], ['database'])
      await network.link('app', 'host').latency(50).apply()
      say('done')`)
    expect(await answers(app, 'database')).toBe(false)
    expect(await remains()).toHaveLength(4)
    await other.kill()
    await nothingRemains()
    expect(await answers(app, 'database')).toBe(true)

    const network = await on.test.engine.networks.get('shared')
    await network.link('app', 'database').latency(50).apply()
    const fault = await network.partition(['app'], ['host'])
    for (const container of [app, database]) await container.remove({ force: true })
    await network.remove()
    await nothingRemains()
    await fault.heal()
  })

  it('are refused where they cannot be', async () => {
    const { engine } = on.test
    const far = await engine.networks.create({ name: 'far' })
    await start({ name: 'app' })
    const { network } = on
    await expect(far.partition(['app'], ['host'])).rejects.toMatchObject({
      code: 'KEELSON_NETWORK_NOT_CONNECTED',
      network: 'far',
    })
    await expect(network.link('app', 'nobody').loss(1).apply()).rejects.toMatchObject({
      code: 'KEELSON_CONTAINER_NOT_FOUND',
    })
    await expect(network.partition(['app'], ['app', 'host'])).rejects.toMatchObject({
      code: 'KEELSON_INVALID_OPTION',
    })
    await expect(network.link('app', 'host').apply()).rejects.toMatchObject({
      code: 'KEELSON_INVALID_OPTION',
    })
    const signal = AbortSignal.abort()
    await expect(network.partition(['app'], ['host'], { signal })).rejects.toMatchObject({
      code: 'KEELSON_ABORTED',
    })
    const macvlan = await engine.networks.create({
      name: 'lan',
      driver: 'macvlan',
      parent: 'up0',
      subnets: ['192.0.2.0/24'],
    })
    await expect(macvlan.partition(['app'], ['host'])).rejects.toMatchObject({
      code: 'KEELSON_UNSUPPORTED',
    })
  })
})
