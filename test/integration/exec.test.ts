import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Container, CreateOptions } from '../../src/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'
import { until } from '../support/streams.ts'

let host: TestEngine
let shared: Container

beforeAll(async () => {
  host = await testEngine()
  shared = await running()
})

afterAll(async () => {
  await host[Symbol.asyncDispose]()
})

async function running(options: Partial<CreateOptions> = {}): Promise<Container> {
  const { engine, image } = host
  const container = await engine.containers.create({
    image,
    command: ['sleep', '1000'],
    ...options,
  })
  await container.start()
  return container
}

describe('exec', () => {
  test('runs a program beside the container’s own', async () => {
    const { stdout, stderr, exitCode } = await shared.exec(
      ['sh', '-c', 'hostname; pwd; echo $$ $A; echo oops >&2'],
      { env: { A: 'B' }, workdir: '/tmp' },
    )
    const [hostname, directory, rest] = stdout.split('\n')
    expect(hostname).toBe(shared.id.slice(0, 12))
    expect(directory).toBe('/tmp')
    expect(rest).toMatch(/^\d+ B$/)
    expect(stderr).toBe('oops\n')
    expect(exitCode).toBe(0)
  })

  test('is in every namespace and cgroup of the container, with its rights', async () => {
    const pid = (await shared.inspect()).state.pid
    const { stdout } = await shared.exec(['sh', '-c', 'ls -l /proc/self/ns; cat /proc/self/cgroup'])
    const mine = await shared.exec(['cat', '/proc/1/status'])
    const own = await shared.exec(['cat', '/proc/self/status'])
    for (const name of ['CapEff', 'CapBnd', 'Seccomp', 'NoNewPrivs']) {
      const value = (text: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)?.[1]
      expect(value(own.stdout)).toBe(value(mine.stdout))
    }
    for (const name of ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup']) {
      const link = /-> (\S+)/.exec(
        stdout.split('\n').find((line) => line.includes(` ${name} ->`)) ?? '',
      )
      expect(link?.[1]).toBe(readlinkSync(`/proc/${pid}/ns/${name}`))
    }
  })

  test('rejects as a run does', async () => {
    await expect(shared.exec(['sh', '-c', 'echo no >&2; exit 3'])).rejects.toMatchObject({
      code: 'KEELSON_EXIT_NONZERO',
      exitCode: 3,
      stderr: 'no\n',
    })
    expect(await shared.exec('false', { reject: false })).toMatchObject({ exitCode: 1 })
    await expect(shared.exec(['no-such-program'])).rejects.toMatchObject({
      code: 'KEELSON_COMMAND_NOT_FOUND',
    })
    await expect(shared.exec(['/etc/plain'])).rejects.toMatchObject({
      code: 'KEELSON_COMMAND_NOT_EXECUTABLE',
    })
    await expect(shared.exec(['true'], { user: 'nobody' })).rejects.toMatchObject({
      code: 'KEELSON_USER_NOT_FOUND',
    })
    await expect(shared.exec(['true'], { workdir: '/etc/plain' })).rejects.toMatchObject({
      code: 'KEELSON_START_FAILED',
    })
  })

  test('feeds standard input to its end', async () => {
    const bytes = Buffer.alloc(1024 * 1024, 'x')
    const { stdout } = await shared.exec(['wc', '-c'], { stdin: bytes })
    expect(stdout.trim()).toBe(`${bytes.length}`)
    const piped = shared.exec(['cat'], { stdin: { pipe: true } })
    piped.stdin?.end('through')
    expect((await piped).stdout).toBe('through')
  })

  test('is another user, also one that was made in the container', async () => {
    const user = await shared.exec(['sh', '-c', 'id -u; id -G; echo $HOME'], { user: 'user' })
    expect(user.stdout).toBe('1000\n1000 50\n/home/user\n')
    await shared.exec(['sh', '-c', 'echo late:x:7:8::/late:/bin/sh >> /etc/passwd'])
    const late = await shared.exec(['sh', '-c', 'id -u; echo $HOME'], { user: 'late' })
    expect(late.stdout).toBe('7\n/late\n')
  })

  test('has all rights when privileged', async () => {
    const [all, usual] = await Promise.all(
      [true, false].map((privileged) => shared.exec(['cat', '/proc/self/status'], { privileged })),
    )
    expect(all?.stdout).toMatch(/Seccomp:\s*0/)
    expect(usual?.stdout).toMatch(/Seccomp:\s*2/)
  })

  test('ends with all that it has started, by time-out, abort and too much output', async () => {
    await using container = await running()
    const script = ['sh', '-c', 'sleep 1001 & sleep 1001 & wait']
    await expect(container.exec(script, { timeout: 300 })).rejects.toMatchObject({
      code: 'KEELSON_TIMEOUT',
      timedOut: true,
    })
    const controller = new AbortController()
    const aborted = container.exec(['sh', '-c', 'echo on; sleep 1001 & wait'], {
      signal: controller.signal,
    })
    aborted.stdout.once('data', () => controller.abort())
    await expect(aborted).rejects.toMatchObject({ code: 'KEELSON_ABORTED' })
    await expect(
      container.exec(['sh', '-c', 'while true; do echo yes; done'], { maxOutput: 1000 }),
    ).rejects.toMatchObject({ code: 'KEELSON_MAX_OUTPUT' })
    const { stdout } = await container.exec(['ps'])
    expect(stdout).not.toContain('1001')
    expect((await container.state()).status).toBe('running')
  })

  test('does not wait for what is left in the background', async () => {
    await using container = await running()
    const { stdout } = await container.exec(['sh', '-c', 'sleep 1002 & echo started'])
    expect(stdout).toBe('started\n')
    expect((await container.exec(['ps'])).stdout).toContain('sleep 1002')
  })

  test('many at once keep their streams apart', async () => {
    const numbers = Array.from({ length: 50 }, (_, n) => `${n}`)
    const results = await Promise.all(
      numbers.map(
        async (n) => await shared.exec(['sh', '-c', 'cat; echo $N'], { stdin: n, env: { N: n } }),
      ),
    )
    expect(results.map(({ stdout }) => stdout)).toEqual(numbers.map((n) => `${n}${n}\n`))
  })

  test('leaves no process, cgroup or descriptor', async () => {
    const state = await shared.state()
    const monitor = JSON.parse(
      readFileSync(`${host.root}/containers/${shared.id}/state.json`, 'utf8'),
    ) as {
      monitor: number
    }
    const descriptors = () => readdirSync(`/proc/${monitor.monitor}/fd`).length
    await shared.exec('true')
    const before = descriptors()
    for (let n = 0; n < 20; n++) await shared.exec('true')
    // Fewer when what earlier tests let go of is closed only now.
    expect(descriptors()).toBeLessThanOrEqual(before)
    for (const line of readFileSync(`/proc/${state.pid}/cgroup`, 'utf8').split('\n')) {
      const [, controllers, path] = line.split(':')
      if (path === undefined) continue
      const mount = controllers === '' ? unifiedMount() : `/sys/fs/cgroup/${controllers}`
      if (!existsSync(`${mount}${path}`)) continue
      expect(readdirSync(`${mount}${path}`).filter((name) => name.startsWith('exec-'))).toEqual([])
    }
  })

  test('is refused where nothing runs', async () => {
    const { engine, image } = host
    await using container = await engine.containers.create({ image, command: ['true'] })
    await expect(container.exec('true')).rejects.toMatchObject({ code: 'KEELSON_CONTAINER_STATE' })
    await container.start()
    await container.wait()
    await expect(container.exec('true')).rejects.toMatchObject({ code: 'KEELSON_CONTAINER_STATE' })
  })

  test('ends with its container', async () => {
    const container = await running()
    const exec = container.exec(['sh', '-c', 'echo on; sleep 1000'])
    exec.stdout.once('data', () => void container.remove({ force: true }))
    await expect(exec).rejects.toMatchObject({
      code: expect.stringMatching(/KEELSON_(KILLED|HELPER_FAILED)/),
    })
  })
})

function unifiedMount(): string {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((each) => each.includes(' - cgroup2 '))
  return line?.split(' ')[4] ?? ''
}

describe('spawn', () => {
  test('is like a child process', async () => {
    await using cat = await shared.spawn(['sh', '-c', 'cat; echo end >&2; exit 7'])
    expect(existsSync(`/proc/${cat.pid}`)).toBe(true)
    cat.stdin.write('first\n')
    expect(await until(cat.stdout, 'first\n')).toBe('first\n')
    cat.stdin.end('last\n')
    expect(await until(cat.stdout, 'last\n')).toBe('last\n')
    expect(await until(cat.stderr, 'end\n')).toBe('end\n')
    expect(await cat.wait()).toEqual({ exitCode: 7, signal: null, oomKilled: false })
  })

  test('gets signals', async () => {
    const sleep = await shared.spawn([
      'sh',
      '-c',
      'trap "echo caught; exit 5" TERM; echo on; while true; do sleep 0.01; done',
    ])
    await until(sleep.stdout, 'on\n')
    await sleep.kill()
    expect(await until(sleep.stdout, 'caught')).toContain('caught')
    expect(await sleep.wait()).toMatchObject({ exitCode: 5 })
    await sleep.kill('SIGKILL')
  })

  test('is killed as a whole when it is disposed of', async () => {
    await using container = await running()
    {
      await using tree = await container.spawn(['sh', '-c', 'sleep 1003 & echo on; sleep 1003'])
      await until(tree.stdout, 'on\n')
    }
    expect((await container.exec(['ps'])).stdout).not.toContain('1003')
  })

  test('has a terminal of the container’s own, of a size that can change', async () => {
    await using shell = await shared.spawn(['sh'], {
      tty: { columns: 100, rows: 30 },
      user: 'user',
      env: { PS1: '' },
    })
    const ask = async (command: string) => {
      // Not in what is echoed, which has the quotes.
      shell.stdin.write(`${command}; echo 'do''ne'\n`)
      return await until(shell.stdout, 'done\r\n')
    }
    expect(await ask('test -t 0 && test -t 1 && test -t 2 && echo yes')).toContain('\nyes\r\n')
    expect(await ask('ls -l /proc/self/fd/0')).toMatch(/-> \/dev\/pts\/\d+\r\n/)
    expect(await ask('stat -L -c %u:%t /proc/self/fd/0')).toContain('\n1000:88\r\n')
    expect(await ask('stty size')).toContain('\n30 100\r\n')
    await shell.resize({ columns: 80, rows: 24 })
    expect(await ask('stty size')).toContain('\n24 80\r\n')
    // By a process that is in the foreground already: the shell's own would be there before its child is.
    shell.stdin.write(`sh -c "echo g''o; sleep 1000"\n`)
    await until(shell.stdout, 'go\r\n')
    shell.stdin.write('\x03')
    expect(await ask('echo interrupted')).toContain('\ninterrupted\r\n')
    shell.stdin.write('exit 3\n')
    shell.stdout.resume()
    expect(await shell.wait()).toMatchObject({ exitCode: 3 })
  })

  test('loses nothing of what a short program wrote to its terminal', async () => {
    for (let n = 0; n < 20; n++) {
      const { stdout } = await shared.exec(['sh', '-c', 'seq 1 300; echo last'], { tty: true })
      expect(stdout.split('\r\n').slice(-3)).toEqual(['300', 'last', ''])
    }
  })
})

describe('attacks', () => {
  test('a program that replaces itself by the one that enters finds nothing it could write to', async () => {
    // CVE-2019-5736: "#!/proc/self/exe" runs whatever runs the script.
    await using container = await running()
    await container.exec(['sh', '-c', 'echo "#!/proc/self/exe" > /bin/evil; chmod +x /bin/evil'])
    const result = await container
      .exec(['/bin/evil'], { reject: false })
      .catch((error: unknown) => error)
    expect(result).toBeDefined()
    await container.exec([
      'sh',
      '-c',
      'for exe in /proc/[0-9]*/exe; do (echo x >> $exe) 2>/dev/null && echo "wrote $exe"; done; true',
    ])
    expect((await container.exec(['echo', 'still here'])).stdout).toBe('still here\n')
  })

  test('no working directory leads out', async () => {
    // CVE-2024-21626
    await using container = await running()
    for (let fd = 0; fd < 20; fd++) {
      const error: unknown = await container
        .exec(['pwd'], { workdir: `/proc/self/fd/${fd}` })
        .catch((failure: unknown) => failure)
      expect(error).toMatchObject({ code: 'KEELSON_START_FAILED' })
    }
    await container.exec(['sh', '-c', 'ln -s /proc/self/fd/7 /link; ln -s ../../../.. /up'])
    await expect(container.exec(['pwd'], { workdir: '/link' })).rejects.toMatchObject({
      code: 'KEELSON_START_FAILED',
    })
    expect((await container.exec(['ls', '-d', 'bin'], { workdir: '/up' })).stdout).toBe('bin\n')
  })

  test('nothing of the host is open in a program', async () => {
    const { stdout } = await shared.exec(['ls', '/proc/self/fd'], { stdin: 'x' })
    // 3 is the directory that ls reads.
    expect(stdout.trim().split(/\s+/)).toEqual(['0', '1', '2', '3'])
  })

  test('a terminal is none when the container has put something else in its place', async () => {
    await using container = await running({ privileged: true })
    await container.exec(['sh', '-c', 'mount -t tmpfs none /dev/pts && echo > /dev/pts/ptmx'])
    await expect(container.spawn(['sh'], { tty: true })).rejects.toMatchObject({
      code: 'KEELSON_START_FAILED',
      message: expect.stringContaining('terminal'),
    })
  })
})
