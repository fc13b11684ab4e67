import { mkdir, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { locateHelper } from '../../src/runtime/locate.ts'
import { busyboxEntries } from '../support/busybox-image.ts'
import { dockerd, type Dockerd } from '../support/dockerd.ts'
import { tar } from '../support/layers.ts'
import { run, type Ran } from '../support/process.ts'
import { temporaryDirectory, type TemporaryDirectory } from '../support/temp.ts'

let temp: TemporaryDirectory
/** What engines are given as a runtime: they pass no word before the options. */
let runtime: string
let image: Buffer

beforeAll(async () => {
  temp = await temporaryDirectory('keelson-oci-')
  runtime = temp.join('keelson-oci')
  const helper = locateHelper()
  await writeFile(runtime, `#!/bin/sh\nexec '${helper}' oci "$@"\n`, { mode: 0o755 })
  image = tar([...(await busyboxEntries()), { name: 'mnt/', type: '5' }])
})

afterAll(async () => {
  await temp?.[Symbol.asyncDispose]()
})

describe('docker with the helper as its runtime', () => {
  let daemon: Dockerd

  beforeAll(async () => {
    await mkdir(temp.join('shared'))
    daemon = await dockerd(temp.join('shared'), runtime)
    await daemon.import('busybox:1', image, ['ENV PATH=/bin'])
  })

  afterAll(async () => {
    await daemon?.[Symbol.asyncDispose]()
  })

  const docker = (...args: string[]): Promise<Ran> =>
    run('/usr/bin/docker', args, {
      anyExit: true,
      env: { DOCKER_HOST: `unix://${daemon.socket}`, DOCKER_CONFIG: temp.join('docker') },
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

describe('podman with the helper as its runtime', () => {
  /** Its own defaults are more than a machine without CAP_SYS_RESOURCE gives. */
  const ulimits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024']
  const options = ['--network', 'none', ...ulimits]

  beforeAll(async () => {
    const archive = temp.join('image.tar')
    await writeFile(archive, image)
    expect(await podman('import', '--change', 'ENV PATH=/bin', archive, 'busybox:1')).toMatchObject(
      { code: 0 },
    )
  })

  it('runs a program to its end', async () => {
    const script = 'echo out; echo err >&2; exit 5'
    const ran = await podman('run', '--rm', ...options, 'busybox:1', 'sh', '-c', script)
    expect(ran).toMatchObject({ code: 5, stdout: 'out\n', stderr: 'err\n' })
  })

  it('says that a program is not there', async () => {
    const ran = await podman('run', '--rm', ...options, 'busybox:1', 'no-such-program')
    expect(ran.code).toBe(127)
  })

  it('executes programs, pauses, stops and starts again', async () => {
    const args = ['run', '-d', '--name', 'life', ...options, 'busybox:1', 'sleep', '1000']
    expect(await podman(...args)).toMatchObject({ code: 0 })
    expect(await podman('exec', 'life', 'sh', '-c', 'echo in; exit 4')).toMatchObject({
      code: 4,
      stdout: 'in\n',
    })
    expect(await podman('pause', 'life')).toMatchObject({ code: 0 })
    expect(await podman('unpause', 'life')).toMatchObject({ code: 0 })
    expect(await podman('stop', '-t', '0', 'life')).toMatchObject({ code: 0 })
    expect(await podman('start', 'life')).toMatchObject({ code: 0 })
    expect(await podman('rm', '-f', '-t', '0', 'life')).toMatchObject({ code: 0 })
  })
})

function podman(...args: string[]): Promise<Ran> {
  const places = ['--root', temp.join('podman'), '--runroot', temp.join('podman-run')]
  const ways = ['--tmpdir', temp.join('podman-tmp'), '--storage-driver', 'vfs']
  const manner = ['--cgroup-manager', 'cgroupfs', '--events-backend', 'none']
  const all = [...places, ...ways, ...manner, '--runtime', runtime, ...args]
  return run('podman', all, { anyExit: true })
}
