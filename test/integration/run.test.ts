import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Engine } from '../../src/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'
import { root as checkout } from '../support/repository.ts'

let test: TestEngine
beforeAll(async () => {
  test = await testEngine()
})
afterAll(async () => await test?.[Symbol.asyncDispose]())

const sh = (script: string, options = {}) =>
  test.engine.run(test.image, ['sh', '-c', script], options)
const coded = (code: string, fields: object = {}) => expect.objectContaining({ code, ...fields })

describe('a result', () => {
  it('has both outputs apart, exit code and duration', async () => {
    const result = await sh('echo out; echo err >&2; exit 3', { reject: false })
    expect(result).toMatchObject({
      exitCode: 3,
      signal: null,
      oomKilled: false,
      timedOut: false,
      stdout: 'out\n',
      stderr: 'err\n',
    })
    expect(result.durationMs).toBeGreaterThan(0)
  })

  it('rejects with the same shape when the program fails', async () => {
    await expect(sh('echo bad >&2; exit 7')).rejects.toEqual(
      coded('KEELSON_EXIT_NONZERO', { exitCode: 7, stderr: 'bad\n' }),
    )
  })

  it('tells the signal that ended the program', async () => {
    const result = await test.engine.run(test.image, ['sh', '-c', 'kill -KILL $$'], {
      init: true,
      reject: false,
    })
    expect(result).toMatchObject({ exitCode: null, signal: 'SIGKILL' })
  })

  it('comes with no byte lost of a large output', async () => {
    const { stdout } = await sh('seq 1 200000')
    expect(stdout.length).toBe(1288895)
    expect(stdout.endsWith('\n200000\n')).toBe(true)
  })
})

describe('standard streams', () => {
  it('feed text, bytes and streams to the program, and then its end', async () => {
    expect((await test.engine.run(test.image, ['cat'], { stdin: 'text' })).stdout).toBe('text')
    expect(
      (await test.engine.run(test.image, ['cat'], { stdin: Buffer.from('bytes') })).stdout,
    ).toBe('bytes')
    const stream = Readable.from(['a', 'b', 'c'])
    expect((await test.engine.run(test.image, ['cat'], { stdin: stream })).stdout).toBe('abc')
    expect((await test.engine.run(test.image, ['cat'])).stdout).toBe('')
  })

  it('are there while the program runs', async () => {
    const running = test.engine.run(test.image, ['cat'], { stdin: { pipe: true } })
    const output = text(running.stdout)
    running.stdin?.write('one ')
    running.stdin?.end('two')
    expect(await output).toBe('one two')
    expect((await running).stdout).toBe('one two')
  })

  it('do not mind a program that does not read', async () => {
    const stdin = Buffer.alloc(1024 * 1024)
    expect((await test.engine.run(test.image, ['true'], { stdin })).exitCode).toBe(0)
  })

  it.each(['root', 'user', '4242:4242'])('can be opened anew by %s', async (user) => {
    const script =
      'echo a > /dev/stdout; echo b > /dev/stderr; echo c > /proc/self/fd/1; cat /dev/stdin'
    const { stdout, stderr } = await sh(script, { user, stdin: 'd' })
    expect([stdout, stderr]).toEqual(['a\nc\nd', 'b\n'])
  })

  it('are limited when collected', async () => {
    await expect(
      sh('while :; do echo aaaaaaaaaaaaaaaa; done', { maxOutput: '64k' }),
    ).rejects.toEqual(coded('KEELSON_MAX_OUTPUT'))
  })
})

describe('isolation', () => {
  it('gives private namespaces, loopback only, and a host name', async () => {
    const { stdout } = await sh('echo $$; hostname; ls /sys/class/net; ps -o pid | wc -l', {
      hostname: 'box',
    })
    expect(stdout.split('\n').slice(0, 3)).toEqual(['1', 'box', 'lo'])
  })

  it('has the default capabilities, and those added and dropped', async () => {
    expect(await effective({})).toBe('00000000a80425fb')
    expect(await effective({ capDrop: ['ALL'], capAdd: ['NET_BIND_SERVICE'] })).toBe(
      '0000000000000400',
    )
    expect(await effective({ user: 'user' })).toBe('0000000000000000')
  })

  it('refuses by seccomp what the default profile refuses', async () => {
    const { stdout, stderr, exitCode } = await sh(
      'grep Seccomp: /proc/self/status; unshare -U true',
      { reject: false },
    )
    expect(stdout).toMatch(/Seccomp:\s+2/)
    expect(exitCode).not.toBe(0)
    expect(stderr).toMatch(/not permitted/)
  })

  it("hides and protects what is the host's", async () => {
    const script = `
      cat /proc/kcore | wc -c; ls /sys/firmware | wc -l
      echo x > /proc/sys/kernel/panic; touch /sys/x`
    const { stdout, stderr } = await sh(script, { reject: false })
    expect(stdout).toBe('0\n0\n')
    expect(stderr.match(/Read-only file system/g)?.length).toBe(2)
  })

  it('leaks no descriptor of the host', async () => {
    const { stdout } = await sh('ls /proc/self/fd')
    expect(stdout.trim().split('\n').length).toBeLessThanOrEqual(4)
  })

  it('finds users and their groups in the image', async () => {
    expect((await sh('id', { user: 'user' })).stdout).toMatch(
      /uid=1000\(user\) gid=1000\(user\).*50\(staff\)/,
    )
    expect((await sh('echo $HOME', { user: 'user' })).stdout).toBe('/home/user\n')
    await expect(sh('id', { user: 'nobody-here' })).rejects.toEqual(coded('KEELSON_USER_NOT_FOUND'))
  })

  it('makes the working directory, and files of /etc', async () => {
    const { stdout } = await sh(
      'pwd; cat /etc/hostname; grep db.test /etc/hosts; cat /etc/resolv.conf',
      {
        workdir: '/made/here',
        hostname: 'box',
        extraHosts: { 'db.test': '192.0.2.7' },
        dns: ['192.0.2.53'],
      },
    )
    expect(stdout).toContain('/made/here\nbox\n192.0.2.7\tdb.test\n')
    expect(stdout).toContain('nameserver 192.0.2.53')
  })

  it('mounts host directories and memory', async () => {
    const shared = join(test.root, 'shared')
    await mkdir(shared)
    await writeFile(join(shared, 'file'), 'from the host')
    const script = 'cat /in/file; echo changed > /out/made; touch /in/no; touch /mem/yes; ls /mem'
    const { stdout, stderr } = await sh(script, {
      mounts: [
        `${shared}:/in:ro`,
        { type: 'bind', source: shared, target: '/out' },
        { type: 'tmpfs', target: '/mem' },
      ],
    })
    expect(stdout).toBe('from the hostyes\n')
    expect(stderr).toMatch(/Read-only/)
    expect(await readFile(join(shared, 'made'), 'utf8')).toBe('changed\n')
  })

  it('can be read-only', async () => {
    await expect(sh('touch /x', { readonly: true })).rejects.toThrow(/Read-only/)
  })

  it('keeps nothing of a container', async () => {
    await sh('echo secret > /left')
    await expect(sh('cat /left')).rejects.toEqual(coded('KEELSON_EXIT_NONZERO'))
  })
})

describe('limits', () => {
  it('end a program at its memory limit, and say so', async () => {
    const eat = 'x=a; while :; do x=$x$x; done'
    await expect(sh(eat, { memory: '16m' })).rejects.toEqual(
      coded('KEELSON_OUT_OF_MEMORY', { oomKilled: true }),
    )
  })

  it('stop a fork bomb', async () => {
    const result = await sh('for i in $(seq 1 50); do sleep 5 & done', {
      pids: 10,
      reject: false,
      timeout: '20s',
    })
    expect(result.stderr).toMatch(/fork/)
  })

  it('end everything at a timeout or an abort', async () => {
    await expect(sh('sleep 1000 & sleep 1000', { timeout: 300 })).rejects.toEqual(
      coded('KEELSON_TIMEOUT', { timedOut: true }),
    )
    const abort = new AbortController()
    const running = sh('echo ready; sleep 1000', { signal: abort.signal })
    await once(running.stdout, 'data')
    abort.abort(new Error('enough'))
    await expect(running).rejects.toEqual(coded('KEELSON_ABORTED'))
  })

  it('set ulimits, and clamp what may not be raised', async () => {
    const { stdout } = await sh('ulimit -n', { ulimits: { nofile: 77 } })
    expect(stdout).toBe('77\n')
  })
})

describe('bad input', () => {
  const bad: [string[], Record<string, unknown>, string][] = [
    [['no-such-program'], {}, 'KEELSON_COMMAND_NOT_FOUND'],
    [['/etc/plain'], {}, 'KEELSON_COMMAND_NOT_EXECUTABLE'],
    [['true'], { mounts: ['/no/such/source:/x'] }, 'KEELSON_MOUNT_FAILED'],
    [['true'], { memory: '1m' }, 'KEELSON_INVALID_OPTION'],
    [['true'], { memroy: '64m' }, 'KEELSON_INVALID_OPTION'],
    [['true'], { capAdd: ['NET_ADMNI'] }, 'KEELSON_INVALID_OPTION'],
    [['true'], { sysctls: { 'kernel.panic': '1' } }, 'KEELSON_INVALID_OPTION'],
    [[], { entrypoint: [] }, 'KEELSON_INVALID_OPTION'],
  ]
  it.each(bad)('%j with %j is %s, and nothing is left', async (command, options, code) => {
    // With others, containers are made ahead.
    await using own = await testEngine()
    const error: unknown = await own.engine
      .run(own.image, command, options)
      .catch((e: unknown) => e)
    expect(error).toEqual(coded(code))
    expect((error as { hint?: string }).hint).toBeTypeOf('string')
    expect(await containersOf(own.runRoot)).toEqual([])
  })

  it('an image that is nowhere is KEELSON_IMAGE_NOT_FOUND', async () => {
    await expect(
      test.engine.run('localhost/nowhere:1', ['true'], { pull: 'never' }),
    ).rejects.toEqual(coded('KEELSON_IMAGE_NOT_FOUND'))
  })
})

describe('lifetime', () => {
  it('ends with the engine, which says so', async () => {
    await using own = await testEngine()
    const running = own.engine.run(own.image, ['sh', '-c', 'echo ready; sleep 1000'])
    const failure = expect(running).rejects.toEqual(coded('KEELSON_CLOSED'))
    await once(running.stdout, 'data')
    await own.engine.close()
    await failure
    await expect(own.engine.run(own.image, ['true'])).rejects.toEqual(coded('KEELSON_CLOSED'))
    expect(await containersOf(own.runRoot)).toEqual([])
  })

  it('ends with the program, however that ends, and the next engine finds nothing', async () => {
    await using own = await testEngine()
    const program = `
      import { Engine } from ${JSON.stringify(join(checkout, 'dist/index.js'))}
      const engine = await Engine.open(${JSON.stringify({ root: own.root, runRoot: own.runRoot })})
      const image = (await engine.images.list())[0]
      const running = engine.run(image, ['sh', '-c', 'echo ready; sleep 1000'])
      running.stdout.once('data', () => console.log(JSON.stringify([...process._getActiveHandles()].length)))
      engine.on('container.start', ({ pid }) => console.log('pid ' + pid))
      await running`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    for await (const chunk of child.stdout) {
      said += String(chunk)
      if (said.split('\n').length > 2) break
    }
    const pid = Number(/pid (\d+)/.exec(said)?.[1])
    expect(await readdir(`/proc/${pid}`)).toContain('stat')
    child.kill('SIGKILL')
    await once(child, 'exit')
    // Opening waits for the lock of whoever still cleans up.
    await gone(pid)
    await using next = await Engine.open({ root: own.root, runRoot: own.runRoot })
    expect((await next.images.list()).length).toBe(1)
    expect(await containersOf(own.runRoot)).toEqual([])
  })

  it('holds its image: removing that is refused, or takes only the names until the run has ended', async () => {
    await using own = await testEngine()
    const { images } = own.engine
    const image = await own.image.tag('held:1')
    const started: Promise<unknown>[] = []
    const running = own.engine.run(image, ['cat'], { stdin: { pipe: true } })
    started.push(once(running.stdout, 'data'))
    running.stdin?.write('ready ')
    await Promise.all(started)
    const refusal = await image.remove().catch((error: unknown) => error)
    expect(refusal).toEqual(coded('KEELSON_IMAGE_IN_USE', { containers: [expect.any(String)] }))
    expect((await images.prune({ all: true })).images).toEqual([])
    const removed = await image.remove({ force: true })
    expect(removed).toEqual({ untagged: image.references, deleted: [], bytes: 0 })
    expect(await images.list()).toEqual([])
    running.stdin?.end('steady')
    expect((await running).stdout).toBe('ready steady')
    expect((await images.prune()).blobs).toHaveLength(3)
  })

  it('many at once, in several engines on one root', async () => {
    await using other = await Engine.open({ root: test.root, runRoot: test.runRoot })
    const [image] = await other.images.list()
    if (image === undefined) throw new Error('the image is missing')
    const runs = Array.from({ length: 20 }, (_, n) =>
      (n % 2 ? other : test.engine).run(image, ['echo', String(n)]),
    )
    const results = await Promise.all(runs)
    expect(results.map(({ stdout }) => Number(stdout))).toEqual(runs.map((_, n) => n))
  })
})

/** Directories of containers below a runRoot. */
async function containersOf(runRoot: string): Promise<string[]> {
  const engines = await readdir(join(runRoot, 'engines'))
  const names = await Promise.all(
    engines.map((engine) => readdir(join(runRoot, 'engines', engine))),
  )
  return names.flat().filter((name) => /^[0-9a-f]{64}$/.test(name))
}

/** The kernel tells when a process is gone. */
async function gone(pid: number): Promise<void> {
  const waiter = spawn('tail', [`--pid=${pid}`, '-f', '/dev/null'])
  await once(waiter, 'exit')
}

async function effective(options: object): Promise<string | undefined> {
  const { stdout } = await sh('cat /proc/self/status', options)
  return /CapEff:\s+(\w+)/.exec(stdout)?.[1]
}
