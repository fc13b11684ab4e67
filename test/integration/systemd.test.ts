/**
 * Needs a system whose init is systemd with cgroup v2, as root or as a user who has a session there: the guest of
 * `npm run test:vm`. Elsewhere these tests state what is missing and check that this is an error with a remedy.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { access, readFile } from 'node:fs/promises'
import { expect, onTestFinished, test, type TestContext } from 'vitest'
import { openCgroupBase } from '../../src/runtime/cgroup-base.ts'
import { cgroupStrategies, planContainerCgroups } from '../../src/runtime/cgroup.ts'
import { readHostFacts } from '../../src/runtime/host.ts'
import { startScope } from '../../src/runtime/systemd.ts'
import { stop } from '../support/process.ts'

const host = await readHostFacts()
const scoped = cgroupStrategies(host)[0]?.way === 'scope'
const manager = host.rootless ? 'user' : 'system'
const { runtime } = host.directories

function onlyWithScopes(skip: TestContext['skip']): void {
  skip(!scoped, 'no systemd with cgroup v2 gives out scopes here')
}

function sleeper(): ChildProcess & { pid: number } {
  const child = spawn('sleep', ['infinity'])
  onTestFinished(() => stop(child))
  if (child.pid === undefined) throw new Error('sleep cannot be started')
  return Object.assign(child, { pid: child.pid })
}

test('a scope holds the process, with cgroups that this user may divide', async ({ skip }) => {
  onlyWithScopes(skip)
  const child = sleeper()
  const engine = `test-${child.pid}`
  const { base, way, failures } = await openCgroupBase(host, { engine, pid: child.pid })
  expect(failures).toEqual([])
  expect(way).toBe('scope')
  expect(base.v2?.directory).toMatch(new RegExp(`/keelson-${engine}\\.scope$`))
  expect(await readFile(`/proc/${child.pid}/cgroup`, 'utf8')).toContain(
    `keelson-${engine}.scope/keelson-host`,
  )
  expect(base.v2?.controllers).toEqual(expect.arrayContaining(['memory', 'pids']))
  expect(() => planContainerCgroups(base, 'c1', ['memory', 'pids'])).not.toThrow()
})

test('the scope vanishes with its last process', async ({ skip }) => {
  onlyWithScopes(skip)
  const child = sleeper()
  const { base } = await openCgroupBase(host, { engine: `gone-${child.pid}`, pid: child.pid })
  const directory = base.v2?.directory ?? ''
  await stop(child, 'SIGKILL')
  const vanished = () =>
    access(directory).then(
      () => false,
      () => true,
    )
  await expect.poll(vanished, { timeout: 10_000 }).toBe(true)
})

test('a name that is taken, and a process that is not there, are errors', async ({ skip }) => {
  onlyWithScopes(skip)
  const child = sleeper()
  const unit = `keelson-taken-${child.pid}.scope`
  await startScope({ manager, unit, pid: child.pid, runtime })
  await expect(startScope({ manager, unit, pid: sleeper().pid, runtime })).rejects.toThrow(unit)
  const gone = {
    manager,
    unit: `keelson-gone-${child.pid}.scope`,
    pid: 2 ** 22 - 1,
    runtime,
  } as const
  await expect(startScope(gone)).rejects.toThrow()
})

test('without systemd, asking for a scope is an error that says so', async ({ skip }) => {
  skip(scoped, 'systemd gives out scopes here')
  const { pid } = sleeper()
  const asked = startScope({ manager, unit: `keelson-test-${pid}.scope`, pid, runtime })
  await expect(asked).rejects.toThrow(/no systemd (user|system) manager listens/)
})
