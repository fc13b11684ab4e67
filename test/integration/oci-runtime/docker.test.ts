import { mkdir, readFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dockerd, type Dockerd } from '../../support/dockerd.ts'
import { ociRuntime, systemd, unitProperties, type OciRuntime } from '../../support/oci-runtime.ts'
import { run, type Ran } from '../../support/process.ts'

let runtime: OciRuntime

beforeAll(async () => {
  runtime = await ociRuntime()
})

afterAll(async () => {
  await runtime?.[Symbol.asyncDispose]()
})

describe('docker with the helper as its runtime', () => {
  let daemon: Dockerd

  beforeAll(async () => {
    await mkdir(runtime.temp.join('shared'))
    daemon = await dockerd(runtime.temp.join('shared'), { runtime: runtime.path, systemd })
    await daemon.import('busybox:1', runtime.image, ['ENV PATH=/bin'])
  })

  afterAll(async () => {
    await daemon?.[Symbol.asyncDispose]()
  })

  const docker = (...args: string[]): Promise<Ran> =>
    run('/usr/bin/docker', args, {
      anyExit: true,
      env: { DOCKER_HOST: `unix://${daemon.socket}`, DOCKER_CONFIG: runtime.temp.join('docker') },
    })

  const start = async (name: string, ...args: string[]): Promise<void> => {
    const options = ['--network', 'none', ...args]
    const ran = await docker('run', '-d', '--name', name, ...options, 'busybox:1', 'sleep', '1000')
    expect(ran).toMatchObject({ code: 0 })
  }

  it('runs a program to its end', async () => {
    const script = 'echo out; echo err >&2; exit 5'
    const ran = await docker('run', '--rm', '--network', 'none', 'busybox:1', 'sh', '-c', script)
    expect(ran).toMatchObject({ code: 5, stdout: 'out\n', stderr: 'err\n' })
  })

  it('says that a program is not there', async () => {
    const ran = await docker('run', '--rm', '--network', 'none', 'busybox:1', 'no-such-program')
    expect(ran.code).toBe(127)
    expect(ran.stderr).toContain('executable file not found in $PATH')
  })

  it('gives a program a terminal', async () => {
    const ran = await docker('run', '--rm', '-t', '--network', 'none', 'busybox:1', 'tty')
    expect(ran).toMatchObject({ code: 0, stdout: '/dev/pts/0\r\n' })
  })

  it('executes programs, pauses, updates, stops and starts again', async () => {
    await start('life', '--memory', '50m', '--pids-limit', '20')
    expect(await docker('exec', 'life', 'sh', '-c', 'echo in; exit 4')).toMatchObject({
      code: 4,
      stdout: 'in\n',
    })
    expect(await docker('exec', '-t', 'life', 'tty')).toMatchObject({ stdout: '/dev/pts/0\r\n' })
    expect((await docker('top', 'life')).stdout).toContain('sleep 1000')
    expect(await docker('pause', 'life')).toMatchObject({ code: 0 })
    expect((await docker('ps', '--format', '{{.Status}}')).stdout).toContain('Paused')
    expect(await docker('unpause', 'life')).toMatchObject({ code: 0 })
    const limits = ['--memory', '60m', '--memory-swap', '60m']
    expect(await docker('update', ...limits, 'life')).toMatchObject({ code: 0 })
    expect(await docker('stop', '-t', '0', 'life')).toMatchObject({ code: 0 })
    expect(await docker('start', 'life')).toMatchObject({ code: 0 })
    expect(await docker('kill', 'life')).toMatchObject({ code: 0 })
    expect(await docker('wait', 'life')).toMatchObject({ stdout: '137\n' })
    expect(await docker('rm', 'life')).toMatchObject({ code: 0 })
  })

  it('has systemd make the cgroup, and knows its limits', async ({ skip }) => {
    skip(!systemd, 'no systemd with cgroup v2 gives out scopes here')
    await start('scoped', '--memory', '50m', '--cpus', '0.5', '--pids-limit', '20')
    const { stdout } = await docker('inspect', '-f', '{{.Id}} {{.State.Pid}}', 'scoped')
    const [id, pid] = stdout.trim().split(' ')
    const unit = `docker-${id}.scope`
    const cgroup = (await readFile(`/proc/${pid}/cgroup`, 'utf8')).trim()
    expect(cgroup).toBe(`0::/system.slice/${unit}`)
    const known = ['MemoryMax', 'TasksMax', 'CPUQuotaPerSecUSec', 'Slice']
    expect(await unitProperties(unit, known)).toEqual({
      MemoryMax: String(50 << 20),
      TasksMax: '20',
      CPUQuotaPerSecUSec: '500ms',
      Slice: 'system.slice',
    })
    const limits = ['--memory', '60m', '--memory-swap', '60m']
    expect(await docker('update', ...limits, 'scoped')).toMatchObject({ code: 0 })
    await run('systemctl', ['daemon-reload'])
    expect(await unitProperties(unit, ['MemoryMax'])).toEqual({ MemoryMax: String(60 << 20) })
    const memory = await readFile(`/sys/fs/cgroup/system.slice/${unit}/memory.max`, 'utf8')
    expect(memory).toBe(`${60 << 20}\n`)
    // What may be used of devices is no property of the unit's, and stays all the same.
    const denied = await docker('exec', 'scoped', 'sh', '-c', 'mknod /k c 1 11 && head -c1 /k')
    expect(denied.stderr).toContain('Operation not permitted')
    expect(await docker('rm', '-f', 'scoped')).toMatchObject({ code: 0 })
    expect(await unitProperties(unit, ['ActiveState'])).toEqual({ ActiveState: 'inactive' })
    expect(existsSync(`/sys/fs/cgroup/system.slice/${unit}`)).toBe(false)
  })

  it('joins namespaces of another container', async () => {
    await start('first')
    const links = ['sh', '-c', 'readlink /proc/self/ns/net; readlink /proc/self/ns/pid']
    const first = await docker('exec', 'first', ...links)
    const joined = ['--network', 'container:first', '--pid', 'container:first']
    const second = await docker('run', '--rm', ...joined, 'busybox:1', ...links)
    expect(second).toMatchObject({ code: 0, stdout: first.stdout })
    expect(await docker('rm', '-f', 'first')).toMatchObject({ code: 0 })
  })

  it('runs a privileged container', async () => {
    const args = ['run', '--rm', '--privileged', '--network', 'none', 'busybox:1']
    const ran = await docker(...args, 'sh', '-c', 'mount -t tmpfs none /mnt && echo mounted')
    expect(ran).toMatchObject({ code: 0, stdout: 'mounted\n' })
  })
})
