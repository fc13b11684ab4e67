import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RunOptions, Warning } from '../../src/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'
import { run } from '../support/process.ts'
import { temporaryDirectory, type TemporaryDirectory } from '../support/temp.ts'

const warnings: Warning[] = []
let test: TestEngine
let temp: TemporaryDirectory
beforeAll(async () => {
  temp = await temporaryDirectory()
  test = await testEngine({ onWarning: (warning) => warnings.push(warning) })
})
afterAll(async () => {
  await test?.[Symbol.asyncDispose]()
  await temp?.[Symbol.asyncDispose]()
})

const sh = (script: string, options: RunOptions = {}) =>
  test.engine.run(test.image, ['sh', '-c', script], options)
const coded = (code: string, fields: object = {}) => expect.objectContaining({ code, ...fields })

describe('a bind mount', () => {
  it('makes its source when it is to', async () => {
    const source = temp.join('made', 'here')
    await sh('echo there > /b/file', {
      mounts: [{ type: 'bind', source, target: '/b', create: true }],
    })
    expect((await stat(source)).mode & 0o777).toBe(0o755)
    expect(await readFile(`${source}/file`, 'utf8')).toBe('there\n')
  })

  it('leaves a source alone that is there, be it a file', async () => {
    const source = temp.join('file')
    await writeFile(source, 'content')
    const { stdout } = await sh('cat /f', {
      mounts: [{ type: 'bind', source, target: '/f', create: true }],
    })
    expect(stdout).toBe('content')
  })

  it('without a source is an error that says what to do, and makes nothing', async () => {
    const source = temp.join('missing')
    const mounts = [{ type: 'bind' as const, source, target: '/b' }]
    await expect(sh('true', { mounts })).rejects.toEqual(
      coded('KEELSON_MOUNT_FAILED', { path: source, hint: expect.stringMatching(/create: true/) }),
    )
    await expect(stat(source)).rejects.toEqual(coded('ENOENT'))
  })

  it('whose source cannot be made is an error', async () => {
    const source = temp.join('file', 'below')
    await expect(
      sh('true', { mounts: [{ type: 'bind', source, target: '/b', create: true }] }),
    ).rejects.toEqual(coded('KEELSON_MOUNT_FAILED', { path: source }))
  })

  it('over /etc keeps the names of the container', async () => {
    const etc = temp.join('etc')
    await mkdir(etc)
    await writeFile(`${etc}/own`, 'own\n')
    const { stdout } = await sh('cat /etc/own /etc/hostname', {
      hostname: 'box',
      mounts: [`${etc}:/etc`],
    })
    expect(stdout).toBe('own\nbox\n')
  })
})

describe('propagation', () => {
  let shared: string
  beforeAll(async () => {
    shared = temp.join('shared')
    await mkdir(shared)
    await run('mount', ['-t', 'tmpfs', 'keelson-test', shared])
    await run('mount', ['--make-shared', shared])
    await mkdir(`${shared}/inner`)
  })
  afterAll(async () => {
    await run('umount', ['-R', shared])
  })
  // The default AppArmor profile, where there is AppArmor, denies every mount.
  const mounting: RunOptions = { capAdd: ['SYS_ADMIN'], apparmor: 'unconfined' }
  const hostMounts = async () => {
    const { stdout } = await run('findmnt', ['-rno', 'TARGET'])
    return stdout.split('\n').filter((line) => line.startsWith(`${shared}/`))
  }

  it('shared lets the mounts of the container out to the host', async () => {
    await sh('mount -t tmpfs inside /b/inner; touch /b/inner/made', {
      ...mounting,
      mounts: [`${shared}:/b:shared`],
    })
    expect(await hostMounts()).toEqual([`${shared}/inner`])
    expect(await stat(`${shared}/inner/made`)).toBeDefined()
    await run('umount', [`${shared}/inner`])
  })

  it.each(['slave', 'rslave'])(
    '%s lets those of the host in, and none out',
    async (propagation) => {
      const running = sh('echo ready; cat; ls /b/inner; mount -t tmpfs x /b/inner', {
        ...mounting,
        stdin: { pipe: true },
        mounts: [`${shared}:/b:${propagation}`],
      })
      await new Promise((resolve) => running.stdout.once('data', resolve))
      await run('mount', ['-t', 'tmpfs', 'outside', `${shared}/inner`])
      await writeFile(`${shared}/inner/from-the-host`, '')
      running.stdin?.end()
      const { stdout } = await running
      expect(stdout).toBe('ready\nfrom-the-host\n')
      expect(await hostMounts()).toEqual([`${shared}/inner`])
      await run('umount', [`${shared}/inner`])
    },
  )

  it('private, the default, lets neither', async () => {
    await sh('mount -t tmpfs x /b/inner', { ...mounting, mounts: [`${shared}:/b`] })
    expect(await hostMounts()).toEqual([])
  })

  it('from a source that shares with nobody is an error', async () => {
    const alone = temp.join('alone')
    await mkdir(alone)
    await run('mount', ['-t', 'tmpfs', 'keelson-test', alone])
    await run('mount', ['--make-private', alone])
    try {
      for (const propagation of ['shared', 'rslave']) {
        await expect(sh('true', { mounts: [`${alone}:/b:${propagation}`] })).rejects.toEqual(
          coded('KEELSON_MOUNT_FAILED', { hint: expect.stringContaining(alone) }),
        )
      }
    } finally {
      await run('umount', [alone])
    }
  })
})

describe('tmpfs', () => {
  it('can be read-only', async () => {
    const { stderr, stdout } = await sh('touch /t/x; stat -c %a /t', {
      mounts: [{ type: 'tmpfs', target: '/t', readonly: true }],
    })
    expect(stderr).toMatch(/Read-only file system/)
    expect(stdout).toBe('1777\n')
  })

  it('has the mode and size that were asked for', async () => {
    const { stdout, stderr } = await sh(
      'stat -c %a /t; dd if=/dev/zero of=/t/x bs=4096 count=300 2>&1 >/dev/null | grep -o "No space"',
      { mounts: [{ type: 'tmpfs', target: '/t', size: '1m', mode: 0o700 }] },
    )
    expect([stdout, stderr]).toEqual(['700\nNo space\n', ''])
  })
})

describe("the host's network", () => {
  it("comes with the host's names", async () => {
    const { stdout } = await sh('hostname; echo $HOSTNAME; cat /etc/hosts', { networks: 'host' })
    const [name, variable, ...hosts] = stdout.split('\n')
    expect([name, variable]).toEqual([hostname(), hostname()])
    expect(hosts.join('\n')).toBe(await readFile('/etc/hosts', 'utf8'))
  })

  it("and with the caller's", async () => {
    const { stdout } = await sh('hostname; cat /etc/hosts; cat /etc/resolv.conf', {
      networks: 'host',
      hostname: 'box',
      extraHosts: ['db.test:192.0.2.1'],
      dns: ['192.0.2.53'],
    })
    expect(stdout).toMatch(/^box\n/)
    expect(stdout).toContain(await readFile('/etc/hosts', 'utf8'))
    expect(stdout).toMatch(/\n192\.0\.2\.1\tdb\.test\nnameserver 192\.0\.2\.53\n/)
  })
})

describe('a ulimit', () => {
  it('above what this process may give is lowered to it, and told', async () => {
    const { stdout: own } = await run('sh', ['-c', 'ulimit -Hn'])
    const beyond = Number(own) + 1
    const { stdout } = await sh('ulimit -Hn', { ulimits: { nofile: beyond } })
    const warning = warnings.find(({ code }) => code === 'ulimit-clamped')
    // With CAP_SYS_RESOURCE there is nothing that this process may not give.
    if (Number(stdout) === beyond) expect(warning).toBeUndefined()
    else {
      expect(stdout).toBe(own)
      expect(warning?.message).toContain(`nofile is ${own.trim()} instead of ${beyond}`)
    }
  })
})

describe('a result', () => {
  it('has its output as it was written, or without its last newline', async () => {
    const script = 'printf "a\\n\\n"; printf "b\\r\\n" >&2'
    expect(await sh(script)).toMatchObject({ stdout: 'a\n\n', stderr: 'b\r\n' })
    expect(await sh(script, { stripFinalNewline: true })).toMatchObject({
      stdout: 'a\n',
      stderr: 'b',
    })
  })

  it('comes however long it may take', async () => {
    const { timedOut } = await sh('true', { timeout: Number.MAX_SAFE_INTEGER })
    expect(timedOut).toBe(false)
  })
})

it('labels come with every event', async () => {
  await using own = await testEngine()
  const heard: [string, object][] = []
  const events = ['container.start', 'container.exit', 'container.remove'] as const
  for (const name of events) own.engine.on(name, ({ labels }) => heard.push([name, labels]))
  const labels = { 'test.kind': 'labels' }
  await own.engine.run(own.image, ['true'], { labels })
  // What is still being removed is waited for.
  await own.engine.close()
  expect(heard).toEqual(events.map((name) => [name, labels]))
})
