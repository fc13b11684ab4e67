import { chmod, mkdir, readdir, readFile, readlink, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Engine, type Container, type CreateOptions, type Image } from '../../src/index.ts'
import { busyboxFiles, testEngine, type TestEngine } from '../support/engine.ts'
import { program } from '../support/program.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { testUser } from '../support/user.ts'

let test: TestEngine
/** Programs of this host that busybox has not, or that give up what a set-id bit gives. */
let tools: Image
beforeAll(async () => {
  test = await testEngine()
  tools = await test.engine.images.fromHost([
    'sh',
    'sleep',
    'ipcmk',
    'ipcs',
    'id',
    'chmod',
    'chown',
  ])
})
afterAll(async () => await test?.[Symbol.asyncDispose]())

const coded = (code: string, fields: object = {}) => expect.objectContaining({ code, ...fields })
const sleeping = (options: Partial<CreateOptions> = {}) =>
  test.engine.containers.run({ image: test.image, command: ['sleep', '1000'], ...options })
const sh = async (container: Container, line: string, user?: string) =>
  (await container.exec(['sh', '-c', line], user === undefined ? {} : { user })).stdout.trim()

const queues = async (container: Container) => {
  const { state } = await container.inspect()
  return (await stat(`/proc/${state.pid}/root/dev/mqueue`)).dev
}

const namespace = async (container: Container, kind: string) =>
  await readlink(`/proc/${(await container.inspect()).state.pid}/ns/${kind}`)

/** Of a process, as the host sees them. */
const uidsOf = async (container: Container) => {
  const { state } = await container.inspect()
  const status = await readFile(`/proc/${state.pid}/status`, 'utf8')
  return /^Uid:\t(\d+)/m.exec(status)?.[1]
}

/** What a line says in a container with users of its own. */
const own = async (line: string, options: Partial<CreateOptions>) => {
  await using container = await sleeping({ userns: 'auto', ...options })
  return await sh(container, line)
}

describe("another container's namespaces", () => {
  it('pid: both see the processes of both, and each ends with its own', async () => {
    await using first = await sleeping({ name: 'first-of-two' })
    await using second = await sleeping({ pid: { container: 'first-of-two' } })
    for (const container of [first, second]) {
      expect(await sh(container, 'ps | grep -c "sleep 100[0]"')).toBe('2')
    }
    // What it leaves behind is not the other's process 1's: it goes with its cgroup.
    await second.exec(['sh', '-c', 'sleep 2000 & sleep 2000 & true'])
    expect(await sh(first, 'ps | grep -c "sleep 200[0]"')).toBe('2')
    await second.kill()
    await second.wait()
    expect(await sh(first, 'ps | grep -c "sleep 200[0]" || true')).toBe('0')
    expect(await first.status()).toBe('running')
  })

  it('pid: the end of the other one is the end of all', async () => {
    await using first = await sleeping()
    await using second = await sleeping({ pid: { container: first } })
    const ended = second.wait()
    await first.kill()
    expect(await ended).toMatchObject({ signal: 'SIGKILL' })
  })

  it('ipc: shared memory of either kind, and message queues', async () => {
    await using first = await sleeping({ image: tools, command: ['sleep', '1000'] })
    await using second = await sleeping({
      image: tools,
      command: ['sleep', '1000'],
      ipc: `container:${first.name}`,
    })
    await using third = await sleeping({ image: tools, command: ['sleep', '1000'] })
    await sh(first, 'ipcmk -M 4096; echo shared > /dev/shm/file')
    expect(await sh(second, 'ipcs -m')).toContain('4096')
    expect(await sh(third, 'ipcs -m')).not.toContain('4096')
    await sh(second, 'echo more >> /dev/shm/file')
    expect(await first.files.readFile('/dev/shm/file', { encoding: 'utf8' })).toBe('shared\nmore\n')
    expect(await queues(second)).toBe(await queues(first))
    expect(await queues(third)).not.toBe(await queues(first))
  })

  it("ipc: 'none' has no /dev/shm, and nobody can join it; 'shareable' is private", async () => {
    await using none = await sleeping({ ipc: 'none' })
    expect(await sh(none, 'grep -c /dev/shm /proc/mounts || true')).toBe('0')
    await expect(sleeping({ ipc: { container: none } })).rejects.toEqual(
      coded('KEELSON_INVALID_OPTION', { option: 'ipc' }),
    )
    await using shareable = await sleeping({ ipc: 'shareable' })
    await using other = await sleeping({ ipc: { container: shareable } })
    await sh(shareable, 'touch /dev/shm/there')
    expect(await sh(other, 'ls /dev/shm')).toBe('there')
  })

  it('uts: one name, whoever changes it', async () => {
    await using first = await sleeping({ hostname: 'one-name', capAdd: ['SYS_ADMIN'] })
    await using second = await sleeping({ uts: { container: first.id.slice(0, 12) } })
    expect(await sh(second, 'hostname; echo $HOSTNAME')).toBe('one-name\none-name')
    await sh(first, 'hostname another')
    expect(await sh(second, 'hostname')).toBe('another')
    expect((await second.inspect()).hostname).toBe('one-name')
  })

  it('network: a server in one is reached from the other, which has its names', async () => {
    await using server = await sleeping({
      command: ['sh', '-c', 'while true; do echo hello | nc -l -p 8080; done'],
      extraHosts: ['elsewhere:192.0.2.7'],
      dns: ['192.0.2.53'],
    })
    await using client = await sleeping({ networks: { container: server } })
    await expect
      .poll(() => sh(client, 'nc 127.0.0.1 8080 </dev/null 2>/dev/null || true'))
      .toBe('hello')
    for (const file of ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf']) {
      expect(await sh(client, `cat ${file}`)).toBe(await sh(server, `cat ${file}`))
    }
    expect(await sh(client, 'cat /etc/hosts')).toContain('192.0.2.7')
    expect(await sh(client, 'hostname')).toBe(await sh(server, 'hostname'))
    // Not only the same text: what one writes the other reads.
    await sh(server, 'echo 192.0.2.8 late >> /etc/hosts')
    expect(await sh(client, 'cat /etc/hosts')).toContain('late')
    // A container that joins the one that has joined is on the same network, too.
    await using third = await sleeping({ networks: { container: client } })
    expect(await sh(third, 'cat /etc/hosts')).toContain('late')
  })

  it('engine.run joins too', async () => {
    await using first = await sleeping({ hostname: 'of-a-run' })
    const { stdout } = await test.engine.run(test.image, ['sh', '-c', 'hostname; ps'], {
      uts: { container: first },
      pid: `container:${first.name}`,
    })
    expect(stdout).toContain('of-a-run')
    expect(stdout).toContain('sleep 1000')
  })

  it('are those of its process of now: after a restart of either', async () => {
    await using first = await sleeping()
    await using second = await sleeping({
      networks: { container: first },
      uts: { container: first },
    })
    await first.restart({ timeout: 0 })
    expect(await namespace(second, 'net')).not.toBe(await namespace(first, 'net'))
    await second.restart({ timeout: 0 })
    expect(await namespace(second, 'net')).toBe(await namespace(first, 'net'))
    expect(await namespace(second, 'uts')).toBe(await namespace(first, 'uts'))
  })

  it('need one that runs, and name the state of one that does not', async () => {
    const create = (options: Partial<CreateOptions>) =>
      test.engine.containers.create({ image: test.image, command: ['true'], ...options })
    await expect(create({ pid: 'container:nobody' })).rejects.toEqual(
      coded('KEELSON_CONTAINER_NOT_FOUND'),
    )
    await using first = await create({ name: 'not-yet' })
    await using second = await create({ networks: { container: 'not-yet' } })
    // Who is meant does not change with names.
    await first.rename('renamed')
    expect((await second.inspect()).options.networks).toEqual({ container: first.id })
    await expect(second.start()).rejects.toEqual(
      coded('KEELSON_CONTAINER_STATE', { containerStatus: 'created', container: first.id }),
    )
    await first.start()
    await first.wait()
    await expect(second.start()).rejects.toEqual(
      coded('KEELSON_CONTAINER_STATE', { containerStatus: 'exited' }),
    )
    await expect(
      test.engine.run(test.image, ['true'], { ipc: { container: first } }),
    ).rejects.toEqual(coded('KEELSON_CONTAINER_STATE', { containerStatus: 'exited' }))
    await first.remove()
    await expect(second.start()).rejects.toEqual(coded('KEELSON_CONTAINER_NOT_FOUND'))
    expect((await second.inspect()).state.status).toBe('created')
  })

  it('an ordinary user joins as root does', async () => {
    await using user = await testUser()
    const { stdout } = await user.node(`
      import { Engine } from ${JSON.stringify(join(import.meta.dirname, '../../dist/index.js'))}
      const engine = await Engine.open()
      const image = await engine.images.fromHost(['sh', 'sleep', 'cat'])
      const sleeping = (options) =>
        engine.containers.run({ image, command: ['sleep', '1000'], ...options })
      const first = await sleeping({ hostname: 'of-a-user' })
      const container = { container: first }
      const second = await sleeping({ networks: container, ipc: container, pid: container })
      await first.exec(['sh', '-c', 'echo shared > /dev/shm/file'])
      const line = 'cat /dev/shm/file /etc/hostname; cat /proc/1/cmdline'
      console.log((await second.exec(['sh', '-c', line])).stdout)
      const refused = await sleeping({ userns: 'auto' }).catch((error) => error)
      console.log(refused.code)
      await engine.close()
    `)
    expect(stdout).toBe('shared\nof-a-user\nsleep\x001000\x00\nKEELSON_UNSUPPORTED\n')
  })
})

describe('users of its own', () => {
  it('are nobody on the host', async () => {
    await using container = await sleeping({ userns: 'auto' })
    const { userMappings, state, runtime } = await container.inspect()
    const [{ hostID, size } = { hostID: 0, size: 0 }] = userMappings?.uidMappings ?? []
    expect(size).toBe(65536)
    expect(hostID).toBeGreaterThan(65535)
    expect(runtime.linux.uidMappings).toEqual(userMappings?.uidMappings)
    expect(await uidsOf(container)).toBe(`${hostID}`)
    expect(await sh(container, 'id -u; cat /proc/self/uid_map')).toMatch(
      new RegExp(`^0\n +0 +${hostID} +65536$`),
    )
    await sh(container, 'echo mine > /made; chown 7:8 /made; touch /of-root')
    expect(await sh(container, 'stat -c %u:%g /made /of-root /bin/busybox /etc/hosts')).toBe(
      '7:8\n0:0\n0:0\n0:0',
    )
    const seen = await stat(`/proc/${state.pid}/root/made`)
    expect([seen.uid, seen.gid]).toEqual([hostID + 7, hostID + 8])
    await sh(container, 'echo 192.0.2.9 own >> /etc/hosts')
    expect(await container.top()).toEqual([expect.objectContaining({ user: 'root', uid: hostID })])
  })

  it('of two containers are different ones, and free with them', async () => {
    const ids = join(test.root, 'containers', 'ids')
    {
      await using first = await sleeping({ userns: 'auto' })
      await using second = await sleeping({ userns: 'auto' })
      const uid = await uidsOf(first)
      expect(await uidsOf(second)).not.toBe(uid)
      const { stdout } = await test.engine.run(test.image, ['cat', '/proc/self/uid_map'], {
        userns: 'auto',
      })
      expect([uid, await uidsOf(second)]).not.toContain(stdout.trim().split(/ +/)[1])
      expect(await readdir(ids)).toHaveLength(2)
      await first.restart({ timeout: 0 })
      expect(await uidsOf(first)).toBe(uid)
    }
    expect(await readdir(ids)).toEqual([])
    const short = await sleeping({ userns: 'auto', command: ['true'], autoRemove: true })
    await short.wait({ condition: 'removed' })
    expect(await readdir(ids)).toEqual([])
    await expect(test.engine.run(test.image, ['/not/there'], { userns: 'auto' })).rejects.toEqual(
      coded('KEELSON_COMMAND_NOT_FOUND'),
    )
    await expect(sleeping({ userns: 'auto', command: ['/not/there'] })).rejects.toEqual(
      coded('KEELSON_COMMAND_NOT_FOUND'),
    )
    expect(await readdir(ids)).toEqual([])
  })

  it('have set-id programs, owners and other users', async () => {
    await using container = await sleeping({
      image: tools,
      command: ['sleep', '1000'],
      userns: 'auto',
    })
    expect(await sh(container, 'id -u', '1000:1000')).toBe('1000')
    await sh(container, 'chmod 4755 $(command -v id)')
    expect(await sh(container, 'id -u', '1000:1000')).toBe('0')
    await expect(container.exec(['chown', '65536', '/tmp'])).rejects.toEqual(
      coded('KEELSON_EXIT_NONZERO'),
    )
    await expect(container.exec(['id'], { user: '65536' })).rejects.toEqual(
      coded('KEELSON_INVALID_OPTION', { option: 'user' }),
    )
    await expect(sleeping({ userns: 'auto', user: '65536' })).rejects.toEqual(
      coded('KEELSON_INVALID_OPTION', { option: 'user' }),
    )
  })

  it("reach nothing of the host's users", async () => {
    await using temp = await temporaryDirectory()
    await chmod(temp.path, 0o755)
    await writeFile(temp.join('secret'), 'of root', { mode: 0o600 })
    await writeFile(temp.join('open'), 'for all', { mode: 0o644 })
    await using container = await sleeping({
      userns: 'auto',
      mounts: [`${temp.path}:/host`],
      privileged: true,
    })
    expect(await sh(container, 'cat /host/open')).toBe('for all')
    expect(await sh(container, 'stat -c %u /host/open')).toBe('65534')
    for (const attack of [
      'cat /host/secret',
      'echo x > /host/open',
      'touch /host/new',
      'chmod 666 /host/secret',
      // Even with every capability of its own namespace.
      'mknod /tmp/disk b 8 0',
      'mount -t ext4 /dev/vda /tmp',
      'echo 1 > /proc/sys/vm/drop_caches',
      'head -c 1 /proc/kcore',
      'for each in /sys/fs/cgroup/*; do echo /x > $each/release_agent && exit 0; done; exit 1',
    ]) {
      const { exitCode } = await container.exec(['sh', '-c', attack], { reject: false })
      expect(`${attack}: ${exitCode}`).not.toMatch(/: 0$/)
    }
    expect(await readdir(temp.path)).toEqual(['open', 'secret'])
    expect(await readFile(temp.join('open'), 'utf8')).toBe('for all')
  })

  it('have the files of a mount that says so', async () => {
    await using temp = await temporaryDirectory()
    await writeFile(temp.join('file'), 'of root', { mode: 0o600 })
    await using container = await sleeping({
      userns: 'auto',
      mounts: [{ type: 'bind', source: temp.path, target: '/host', idmap: true }],
    })
    expect(await sh(container, 'cat /host/file; stat -c %u /host/file')).toBe('of root0')
    await sh(container, 'touch /host/made')
    expect((await stat(temp.join('made'))).uid).toBe(0)
    await using proc = await test.engine.containers.create({
      image: test.image,
      userns: 'auto',
      mounts: [{ type: 'bind', source: '/proc', target: '/host', idmap: true }],
    })
    await expect(proc.start()).rejects.toEqual(coded('KEELSON_UNSUPPORTED', { path: '/proc' }))
  })

  it('are mapped as asked for', async () => {
    const mappings = [
      { containerID: 0, hostID: 300_000, size: 1000 },
      { containerID: 1000, hostID: 500_000, size: 1 },
    ]
    const userns = { uidMappings: mappings, gidMappings: mappings }
    await using container = await sleeping({ userns, user: 'user' })
    expect(await uidsOf(container)).toBe('500000')
    expect(await sh(container, 'id -u; stat -c %u /home/user /bin')).toBe('1000\n1000\n0')
    const { stdout } = await test.engine.run(test.image, ['id', '-u'], { userns })
    expect(stdout).toBe('0\n')
  })

  it('copies, files, comparisons and commits speak of the same ids as the image', async () => {
    await using container = await sleeping({ userns: 'auto' })
    const both = async () => {
      await container.copyIn({ '/a/file': Buffer.from('copied') }, '/tmp', { uid: 7, gid: 8 })
      await container.files.writeFile('/tmp/written', 'text', { uid: 1000, gid: 1000 })
      expect(await container.files.stat('/tmp/written')).toMatchObject({ uid: 1000, gid: 1000 })
      expect(await container.files.stat('/tmp/a/file')).toMatchObject({ uid: 7, gid: 8 })
      expect(await container.files.stat('/bin/busybox')).toMatchObject({ uid: 0, gid: 0 })
      const paths = (await container.diff()).map(({ path }) => path)
      expect(paths).toEqual(expect.arrayContaining(['/tmp/written', '/tmp/a/file']))
      expect(await text(container.copyOut('/tmp/written'))).toContain('text')
    }
    await both()
    expect(await sh(container, 'stat -c %u:%g /tmp/written /tmp/a/file')).toBe('1000:1000\n7:8')
    const running = await container.commit()
    await container.stop({ timeout: 0 })
    await both()
    await container.start()
    expect(await sh(container, 'stat -c %u:%g /tmp/written /tmp/a/file')).toBe('1000:1000\n7:8')
    const { stdout } = await test.engine.run(running, ['stat', '-c', '%u:%g', '/tmp/a/file'])
    expect(stdout).toBe('7:8\n')
  })

  it('have terminals, init, limits, read-only roots and networks of their own', async () => {
    expect(await own('ls -ln /dev/console /dev/pts/0 | grep -c " 0 "', { tty: true })).toBe('2')
    expect(await own('cat /proc/1/cmdline', { init: true })).toContain('init')
    expect(await own('cat /proc/1/oom_score_adj', { oomScoreAdj: 500 })).toBe('500')
    expect(await own('touch /x 2>/dev/null || echo refused', { readonly: true })).toBe('refused')
    expect(
      await own('cat /proc/sys/net/core/somaxconn', { sysctls: { 'net.core.somaxconn': '77' } }),
    ).toBe('77')
    expect(await own('cat /proc/sys/kernel/msgmax', { sysctls: { 'kernel.msgmax': '9000' } })).toBe(
      '9000',
    )
    for (const options of [{ networks: 'host' }, { pid: 'host' }, { uts: 'host' }] as const) {
      expect(await own('echo runs', options)).toBe('runs')
    }
    expect(await own('ls /sys/class/net', { ports: [80] })).toBe('eth0\nlo')
  })

  it('stand on copied layers as well', async () => {
    await using copy = await testEngine({ snapshotter: 'copy' })
    const { stdout } = await copy.engine.run(
      copy.image,
      ['sh', '-c', 'touch /new; stat -c %u /bin /new /home/user; chown 5 /new; stat -c %u /new'],
      { userns: 'auto' },
    )
    expect(stdout).toBe('0\n0\n1000\n5\n')
  })

  it('stand on many layers and long paths', async () => {
    await using temp = await temporaryDirectory()
    const root = temp.join('long'.repeat(50), 'root'.repeat(20))
    await mkdir(root, { recursive: true })
    await using engine = await Engine.open({ root, runRoot: temp.join('run') })
    let image = await engine.images.from(busyboxFiles(), { Cmd: ['sh'] })
    for (let layer = 0; layer < 12; layer++) {
      await using container = await engine.containers.create({ image, userns: 'auto' })
      await container.files.writeFile(`/layer-${layer}`, 'text', { uid: layer })
      image = await container.commit()
    }
    const { stdout } = await engine.run(image, ['sh', '-c', 'stat -c %u /layer-0 /layer-11'], {
      userns: 'auto',
    })
    expect(stdout).toBe('0\n11\n')
  })

  it('of a program that was killed are given back by the next', async () => {
    await using first = await testEngine()
    const ids = join(first.root, 'containers', 'ids')
    const killed = await program(first)
    await killed.ask(
      `await engine.containers.run({ command: ['sleep', '1000'], image, userns: 'auto' }); say(1)`,
    )
    await killed.ask(
      `await engine.containers.create({ image, userns: 'auto', detached: true, name: 'stays' }); say(1)`,
    )
    await killed.ask(
      `
      const run = engine.run(image, ['sh', '-c', 'echo runs; sleep 1000'], { userns: 'auto', collect: false })
      run.catch(() => {})
      run.stdout.once('data', () => say(1))
    `,
    )
    expect(await readdir(ids)).toHaveLength(3)
    await killed.kill()
    await using next = await Engine.open({ root: first.root, runRoot: first.runRoot })
    // The monitor of the bound one removes it by itself, unless the engine is quicker.
    await expect.poll(() => readdir(ids)).toHaveLength(1)
    const stays = await next.containers.get('stays')
    const { userMappings } = await stays.inspect()
    expect(`${userMappings?.uidMappings[0]?.hostID}`).toBe((await readdir(ids))[0])
    await stays.remove()
    expect(await readdir(ids)).toEqual([])
  })
})
