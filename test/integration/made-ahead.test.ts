import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { Engine, type RunOptions } from '../../src/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'
import { program } from '../support/program.ts'

const ID = /^[0-9a-f]{64}$/
const coded = (code: string) => expect.objectContaining({ code })

let test: TestEngine
beforeAll(async () => {
  test = await testEngine({ snapshotter: 'overlay' })
})
afterAll(async () => await test?.[Symbol.asyncDispose]())

const sh = (image: TestEngine['image'], script: string, options: RunOptions = {}) =>
  test.engine.run(image, ['sh', '-c', script], options)

/** Writable layers on a root: those that were made and are not used, when nothing runs. */
async function layers(root = test.root): Promise<string[]> {
  const writable = join(root, 'snapshots/overlay/writable')
  const engines = await readdir(writable)
  return (await Promise.all(engines.map((engine) => readdir(join(writable, engine))))).flat()
}

const standbys = async (root?: string) => (await layers(root)).filter((name) => ID.test(name))
const spareRoots = async () => (await layers()).filter((name) => name.startsWith('spare-'))

/** However slow the machine. */
const SOON = { timeout: 30_000 }

/** Until there are so many containers made ahead, and nothing is being removed. */
async function madeAhead(count: number, root?: string): Promise<void> {
  await vi.waitFor(async () => expect(await standbys(root)).toHaveLength(count), SOON)
}

/** Processes of the helper whose parent is this one; `inside`: that are process 1 of a pid namespace. */
async function helpers(parent: number, inside = false): Promise<number[]> {
  const found: number[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const status = await readFile(`/proc/${name}/status`, 'utf8').catch(() => '')
    const own = status.startsWith('Name:\tkeelson') && status.includes(`\nPPid:\t${parent}\n`)
    if (own && /^NSpid:\t\d+\t1$/m.test(status) === inside) found.push(Number(name))
  }
  return found
}

/** The processes of containers that this program's helpers have made ahead. */
async function waiting(): Promise<number[]> {
  const launchers = await helpers(process.pid)
  return (await Promise.all(launchers.map((launcher) => helpers(launcher, true)))).flat()
}

describe('a container made ahead of a run', () => {
  it('is used once: nothing of one is in the next', async () => {
    const names = new Set<string>()
    for (let n = 0; n < 10; n++) {
      const { stdout } = await sh(
        test.image,
        'ls /mark /dev/shm/mark 2>&1; touch /mark /dev/shm/mark; hostname; ls /proc | grep -c "^[0-9]"; cat /etc/hostname',
      )
      expect(stdout).toMatch(/ \/mark: No such file.*\n.* \/dev\/shm\/mark: No such file/)
      const [, , name, , file] = stdout.split('\n')
      expect(file).toBe(name)
      names.add(name ?? '')
      // One for the second, as it was like the first; then as many as are used.
      await madeAhead(Math.min(n, 2))
    }
    expect(names.size).toBe(10)
  })

  it('is process 1 of its own, alone, with loopback and the limits of any other', async () => {
    const { stdout } = await sh(
      test.image,
      'echo $$; ls /proc | grep -c "^[0-9]"; cat /proc/net/dev | grep -v "|"; cat /proc/net/if_inet6; grep -E "Seccomp:|CapEff" /proc/self/status; cat /proc/self/cgroup',
    )
    expect(stdout.startsWith('1\n')).toBe(true)
    expect(stdout.match(/^ *\w+:(?= *\d)/gm)?.map((name) => name.trim())).toContain('lo:')
    expect(stdout).toContain('00000000000000000000000000000001')
    expect(stdout).toMatch(/^CapEff:\t00000000a80425fb$/m)
    expect(stdout).toMatch(/^Seccomp:\t2$/m)
  })

  it('takes the program, environment and input of its run', async () => {
    const run = test.engine.run(test.image, ['sh', '-c', 'echo $A $HOSTNAME $HOME; hostname'], {
      env: { A: 'one' },
      labels: { a: 'b' },
    })
    const [first = '', second] = (await run).stdout.split('\n')
    expect(first).toBe(`one ${second} /root`)
    for (const text of ['a', 'b', 'c', 'd']) {
      expect((await test.engine.run(test.image, ['cat'], { stdin: text })).stdout).toBe(text)
    }
  })

  it('is not for a run with other options', async () => {
    for (const options of [{ user: 'user' }, { memory: '32m' }, { workdir: '/tmp' }, {}, {}, {}]) {
      const { stdout } = await sh(test.image, 'id -u; pwd', options)
      const user = 'user' in options ? 1000 : 0
      expect(stdout).toBe(`${user}\n${'workdir' in options ? '/tmp' : '/'}\n`)
    }
  })

  it('fails like any other, and the next one does not', async () => {
    await sh(test.image, 'true')
    for (let n = 0; n < 4; n++) {
      await expect(test.engine.run(test.image, ['no-such-program'])).rejects.toEqual(
        coded('KEELSON_COMMAND_NOT_FOUND'),
      )
      await expect(test.engine.run(test.image, ['/etc/plain'])).rejects.toEqual(
        coded('KEELSON_COMMAND_NOT_EXECUTABLE'),
      )
      await expect(sh(test.image, 'exit 3')).rejects.toEqual(coded('KEELSON_EXIT_NONZERO'))
      await expect(sh(test.image, 'sleep 100', { timeout: 50 })).rejects.toEqual(
        coded('KEELSON_TIMEOUT'),
      )
    }
    expect((await sh(test.image, 'echo well')).stdout).toBe('well\n')
  })

  it('comes to its networks when it is asked for, and not before', async () => {
    await using own = await testEngine({ snapshotter: 'overlay' })
    const network = await own.engine.networks.create({ name: 'ahead' })
    const script =
      'cat /etc/hosts /proc/net/route; ls /sys/class/net; hostname; nslookup host.keelson.internal 127.0.0.11; nc -w 5 -l -p 80 >/dev/null & sleep 0.1; nc -w 1 $(hostname) 80 </dev/null && echo reached'
    for (let n = 0; n < 4; n++) {
      const { stdout } = await own.engine.run(own.image, ['sh', '-c', script], {
        networks: 'ahead',
        ports: [80],
      })
      expect(stdout).toMatch(/^\d+\.\d+\.\d+\.\d+\t[0-9a-f]{12}$/m)
      expect(stdout).toMatch(/^eth0\t00000000\t/m)
      expect(stdout).toMatch(/^eth0\nlo$/m)
      expect(stdout).toMatch(/^Name:\s+host\.keelson\.internal$/m)
      expect(stdout).toMatch(/reached$/m)
      await madeAhead(Math.min(n, 2), own.root)
      expect((await network.inspect()).containers).toEqual({})
    }
    await network.remove()
    await expect(
      own.engine.run(own.image, ['true'], { networks: 'ahead', ports: [80] }),
    ).rejects.toEqual(coded('KEELSON_NETWORK_NOT_FOUND'))
  })

  it('is killed, and the run has another', async () => {
    for (let n = 0; n < 3; n++) await sh(test.image, 'true')
    await vi.waitFor(async () => expect(await waiting()).toHaveLength(2), SOON)
    for (const pid of await waiting()) process.kill(pid, 'SIGKILL')
    await madeAhead(0)
    expect((await sh(test.image, 'echo well')).stdout).toBe('well\n')
    expect((await sh(test.image, 'echo well')).stdout).toBe('well\n')
  })

  it('serves more runs at once than there are', async () => {
    const runs = Array.from({ length: 20 }, (_, n) => sh(test.image, `echo ${n}`))
    const said = (await Promise.all(runs)).map(({ stdout }) => stdout.trim())
    expect(said).toEqual(Array.from({ length: 20 }, (_, n) => `${n}`))
  })

  it('takes a long command line, and one that is too long for it', async () => {
    for (const length of [100, 30_000, 120_000]) {
      const text = 'x'.repeat(length)
      const args = Array.from({ length: 4 }, () => text)
      const { stdout } = await test.engine.run(test.image, ['sh', '-c', 'echo $#', ...args])
      expect(stdout).toBe('3\n')
    }
  })

  it('is not taken for an image that was removed and made again', async () => {
    await using own = await testEngine({ snapshotter: 'overlay' })
    const { images } = own.engine
    const make = (text: string) =>
      images.from({ '/bin/busybox': '/bin/busybox', '/text': Buffer.from(text) })
    const first = await make('same')
    const read = (image: TestEngine['image']) =>
      own.engine.run(image, ['/bin/busybox', 'cat', '/text'])
    for (let n = 0; n < 3; n++) await read(first)
    await madeAhead(2, own.root)
    await first.remove({ force: true })
    await images.prune({ all: true })
    const again = await make('same')
    expect(again.id).toBe(first.id)
    for (let n = 0; n < 3; n++) expect((await read(again)).stdout).toBe('same')
  })

  it('leaves nothing when its program and the helper are killed and the next engine has opened', async () => {
    await using own = await testEngine({ snapshotter: 'overlay' })
    await own.engine.close()
    await using other = await program(own)
    await other.ask(`for (let n = 0; n < 3; n++) await engine.run(image, ['true']); say('ran')`)
    await madeAhead(2, own.root)
    const [launcher = 0] = await helpers(Number(await other.ask('say(process.pid)')))
    process.kill(launcher, 'SIGKILL')
    await other.kill()
    await using next = await Engine.open({ root: own.root, runRoot: own.runRoot })
    expect(await standbys(own.root)).toEqual([])
    const engines = join(own.runRoot, 'engines')
    const left = await Promise.all(
      (await readdir(engines)).map((engine) => readdir(join(engines, engine))),
    )
    expect(left.flat().filter((name) => ID.test(name))).toEqual([])
    expect((await next.images.list()).length).toBe(1)
  })
})

describe('containers made ahead that come to a network', () => {
  it('leave nothing in it when the helper is killed meanwhile', async () => {
    await using own = await testEngine({ snapshotter: 'overlay' })
    const network = await own.engine.networks.create({ name: 'ahead' })
    const ports = `/sys/class/net/${(await network.inspect()).interface}/brif`
    for (let n = 0; n < 3; n++) {
      await using other = await program(own)
      const runs = `for (let n = 0; n < 10; n++) await engine.run(image, ['true'], { networks: 'ahead' })`
      const [launcher = 0] = await helpers(Number(await other.ask('say(process.pid)')))
      const run = other.ask(`${runs}; say('ran')`).catch(() => {})
      // While they run, and when those that were made ahead wait.
      if (n > 0) await run
      process.kill(launcher, 'SIGKILL')
      await other.kill()
      await run
      await using _ = await Engine.open({ root: own.root, runRoot: own.runRoot })
      // The kernel takes network namespaces apart in its own time.
      await vi.waitFor(async () => expect(await readdir(ports).catch(() => [])).toEqual([]), SOON)
      expect((await network.inspect()).containers).toEqual({})
      expect(await standbys(own.root)).toEqual([])
    }
    await network.remove()
  })
})

describe('the root file system and network made ahead of a run that has mounts', () => {
  it('are used once, and have what any other has', async () => {
    const seen = new Set<string>()
    for (let n = 0; n < 5; n++) {
      const { stdout } = await sh(
        test.image,
        'ls /mark 2>&1; touch /mark; ls /proc/self/ns -l | grep net; cat /proc/net/if_inet6',
        { mounts: [{ type: 'tmpfs', target: '/scratch' }] },
      )
      expect(stdout).toContain('No such file')
      expect(stdout).toContain('00000000000000000000000000000001')
      seen.add(/net:\[\d+\]/.exec(stdout)?.[0] ?? '')
      await vi.waitFor(async () => expect(await spareRoots()).toHaveLength(n < 1 ? 0 : 1), SOON)
    }
    // A number comes again only when the kernel has let go of the namespace that had it.
    expect(seen.size).toBeGreaterThan(1)
  })
})

describe('what is made ahead', () => {
  it('is gone with the engine', async () => {
    await test.engine.close()
    expect(await layers()).toEqual([])
    expect(await waiting()).toEqual([])
  })
})
