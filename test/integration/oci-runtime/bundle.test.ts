/** Bundles that nobody but an engine makes, on a host that has cgroup v2 alone: the guest of `npm run test:vm`. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest'
import { ociRuntime, systemd, unitProperties, type OciRuntime } from '../../support/oci-runtime.ts'
import { run, type Ran } from '../../support/process.ts'

const IDS = [{ containerID: 0, hostID: 100_000, size: 65_536 }]

let runtime: OciRuntime

beforeAll(async () => {
  runtime = await ociRuntime()
  const archive = runtime.temp.join('rootfs.tar')
  await mkdir(runtime.temp.join('rootfs'))
  await writeFile(archive, runtime.image)
  await run('tar', ['-xf', archive, '-C', runtime.temp.join('rootfs')])
})

afterAll(async () => {
  await runtime?.[Symbol.asyncDispose]()
})

function onlyWithV2(skip: TestContext['skip']): void {
  skip(!systemd, 'no systemd with cgroup v2 alone here')
}

describe('a container that may write its cgroup', () => {
  it('divides it as its own root, and cannot lift its limits', async ({ skip }) => {
    onlyWithV2(skip)
    const script = `cd /sys/fs/cgroup && mkdir below && echo $$ >below/cgroup.procs && cat /proc/self/cgroup
      echo +pids >cgroup.subtree_control && cat below/pids.max
      echo max >pids.max`
    const ran = await runBundle('divided', {
      args: ['sh', '-c', script],
      linux: { uidMappings: IDS, gidMappings: IDS, resources: { pids: { limit: 33 } } },
      namespaces: ['user', 'cgroup'],
      cgroupMount: ['nosuid', 'noexec', 'nodev'],
    })
    expect(ran.stdout).toBe('0::/below\nmax\n')
    expect(ran.stderr).toContain('pids.max: Permission denied')
  })

  it('has none to divide where it is mounted read-only', async ({ skip }) => {
    onlyWithV2(skip)
    const ran = await runBundle('whole', {
      args: ['stat', '-c', '%u', '/sys/fs/cgroup', '/sys/fs/cgroup/cgroup.procs'],
      linux: { uidMappings: IDS, gidMappings: IDS },
      namespaces: ['user', 'cgroup'],
      cgroupMount: ['nosuid', 'noexec', 'nodev', 'ro'],
    })
    expect(ran.stdout).toBe('65534\n65534\n')
  })
})

describe('--systemd-cgroup', () => {
  it('says which cgroupsPath it wants', async ({ skip }) => {
    onlyWithV2(skip)
    const ran = await runBundle('path', { linux: { cgroupsPath: '/a/path' }, systemd: true })
    expect(ran.code).not.toBe(0)
    expect(ran.stderr).toContain('slice:prefix:name')
  })

  it('makes a slice below others, and leaves no unit', async ({ skip }) => {
    onlyWithV2(skip)
    const ran = await runBundle('scope', {
      args: ['cat', '/proc/self/cgroup'],
      linux: { cgroupsPath: 'keelson-test.slice:one:two', resources: { pids: { limit: 9 } } },
      systemd: true,
    })
    expect(ran).toMatchObject({
      code: 0,
      stdout: '0::/keelson.slice/keelson-test.slice/one-two.scope\n',
    })
    expect(await unitProperties('one-two.scope', ['LoadState'])).toEqual({ LoadState: 'not-found' })
    await run('systemctl', ['stop', 'keelson.slice'], { anyExit: true })
  })

  it.for([
    ['the same slice', 'keelson-test.slice', 'cgroup is not empty'],
    ['another slice', 'keelson-other.slice', 'UnitExists'],
  ])('refuses a name that a unit in %s has, which goes on', async ([, slice, why], { skip }) => {
    onlyWithV2(skip)
    const holder = ['--unit=one-taken', '--slice=keelson-test.slice', '--scope', '--quiet']
    const held = run('systemd-run', [...holder, 'sh', '-c', 'echo up; exec sleep 1000'], {
      anyExit: true,
    })
    await expect
      .poll(() => existsSync('/sys/fs/cgroup/keelson.slice/keelson-test.slice/one-taken.scope'))
      .toBe(true)
    const ran = await runBundle(`taken-${slice}`, {
      linux: { cgroupsPath: `${slice}:one:taken` },
      systemd: true,
    })
    expect(ran.code).not.toBe(0)
    expect(ran.stderr).toContain(why)
    expect(await unitProperties('one-taken.scope', ['ActiveState'])).toEqual({
      ActiveState: 'active',
    })
    await run('systemctl', ['kill', '--signal=KILL', 'one-taken.scope'])
    await held
  })

  it('is an error where no systemd is', async ({ skip }) => {
    skip(systemd, 'systemd gives out scopes here')
    const ran = await runBundle('none', { systemd: true })
    expect(ran.code).not.toBe(0)
    expect(ran.stderr).toMatch(/--systemd-cgroup needs cgroup v2 alone|no systemd listens/)
  })
})

interface Bundle {
  args?: string[]
  linux?: object
  /** Beside those that every bundle has. */
  namespaces?: string[]
  /** Options of a mount of the cgroup file system. */
  cgroupMount?: string[]
  systemd?: boolean
}

async function runBundle(id: string, bundle: Bundle): Promise<Ran> {
  const directory = runtime.temp.join(`bundle-${id}`)
  await mkdir(directory)
  await run(runtime.path, ['spec', '--bundle', directory])
  const config = JSON.parse(await readFile(`${directory}/config.json`, 'utf8'))
  config.process.terminal = false
  config.process.args = bundle.args ?? ['true']
  config.process.env = ['PATH=/bin']
  config.root = { path: runtime.temp.join('rootfs'), readonly: true }
  config.mounts = config.mounts.filter((mount: { type: string }) => mount.type !== 'cgroup')
  if (bundle.cgroupMount) {
    const options = bundle.cgroupMount
    config.mounts.push({ type: 'cgroup', source: 'cgroup', destination: '/sys/fs/cgroup', options })
  }
  const types = new Set(bundle.namespaces)
  const given = config.linux.namespaces.filter(({ type }: { type: string }) => type !== 'cgroup')
  const namespaces = [...given, ...[...types].map((type) => ({ type }))]
  config.linux = { ...config.linux, ...bundle.linux, namespaces }
  await writeFile(`${directory}/config.json`, JSON.stringify(config))
  const root = ['--root', runtime.temp.join('root')]
  const manner = bundle.systemd ? [...root, '--systemd-cgroup'] : root
  return run(runtime.path, [...manner, 'run', '--bundle', directory, id], { anyExit: true })
}
