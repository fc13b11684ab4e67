import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ociRuntime,
  rootless,
  systemd,
  unitProperties,
  type OciRuntime,
} from '../../support/oci-runtime.ts'
import { run, type Ran } from '../../support/process.ts'

let runtime: OciRuntime

beforeAll(async () => {
  runtime = await ociRuntime()
})

afterAll(async () => {
  // What lies there belongs to users that only this one's namespace has.
  if (rootless) await run('podman', ['unshare', 'rm', '-rf', runtime.temp.join('podman')])
  await runtime?.[Symbol.asyncDispose]()
})

describe('podman with the helper as its runtime', () => {
  /** Its own defaults are more than a machine without CAP_SYS_RESOURCE gives. */
  const ulimits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024']
  const options = ['--network', 'none', ...ulimits]

  beforeAll(async () => {
    const archive = runtime.temp.join('image.tar')
    await writeFile(archive, runtime.image)
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

  it('has systemd make the cgroup, with what annotations ask for', async ({ skip }) => {
    skip(!systemd, 'no systemd with cgroup v2 gives out scopes here')
    // An annotation for the runtime comes of it.
    const asked = ['--stop-timeout', '7']
    const args = ['run', '-d', '--name', 'scoped', ...asked, ...options, '--pids-limit', '30']
    const { stdout } = await podman(...args, 'busybox:1', 'sleep', '1000')
    const unit = `libpod-${stdout.trim()}.scope`
    expect(await unitProperties(unit, ['TasksMax', 'TimeoutStopUSec', 'Slice'])).toEqual({
      TasksMax: '30',
      TimeoutStopUSec: '7s',
      Slice: rootless ? 'user.slice' : 'machine.slice',
    })
    expect(await podman('rm', '-f', '-t', '0', 'scoped')).toMatchObject({ code: 0 })
    expect(await unitProperties(unit, ['ActiveState'])).toEqual({ ActiveState: 'inactive' })
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
  const places = [
    '--root',
    runtime.temp.join('podman'),
    '--runroot',
    runtime.temp.join('podman-run'),
  ]
  const ways = ['--tmpdir', runtime.temp.join('podman-tmp'), '--storage-driver', 'vfs']
  const cgroups = systemd ? 'systemd' : 'cgroupfs'
  const manner = ['--cgroup-manager', cgroups, '--events-backend', 'none']
  const all = [...places, ...ways, ...manner, '--runtime', runtime.path, ...args]
  return run('podman', all, { anyExit: true })
}
