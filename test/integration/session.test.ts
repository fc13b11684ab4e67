/**
 * Where systemd runs and cgroup v2 is the only hierarchy, as root and as an ordinary user who is logged in. The virtual machine
 * is such a host.
 */
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test, type TestContext } from 'vitest'
import { openCgroupBase } from '../../src/runtime/cgroup-base.ts'
import { readHostFacts, type HostFacts } from '../../src/runtime/host.ts'
import { Launcher } from '../../src/runtime/launcher.ts'
import { planUserNamespace } from '../../src/runtime/subids.ts'

/** What every host with systemd hands to its users. */
const DELEGATED = ['memory', 'pids', 'cpu']

const host = await readHostFacts()

test('containers get a scope of their own from systemd, with limits', async ({ skip }) => {
  onlyUnderSystemd(skip)
  const launcher = await start(host)
  onTestFinished(() => launcher.close())
  const { base, way, failures } = await openCgroupBase(host, {
    engine: `test-${process.pid}`,
    pid: launcher.pid,
  })
  expect(failures).toEqual([])
  expect(way).toBe('scope')
  expect(base.v2?.controllers).toEqual(expect.arrayContaining(DELEGATED))
  const cgroup = join(base.v2?.directory ?? '', 'container')
  await mkdir(cgroup)
  await writeFile(join(cgroup, 'memory.max'), '8388608')
  expect(await readFile(join(cgroup, 'memory.max'), 'utf8')).toBe('8388608\n')
  await rmdir(cgroup)
})

test('the scope goes with the launcher', async ({ skip }) => {
  onlyUnderSystemd(skip)
  const launcher = await start(host)
  const options = { engine: `gone-${process.pid}`, pid: launcher.pid }
  const { base } = await openCgroupBase(host, options)
  const events = join(base.v2?.directory ?? '', 'cgroup.events')
  expect(await readFile(events, 'utf8')).toContain('populated 1')
  await launcher.close()
  await expect
    .poll(() => readFile(events, 'utf8').catch(() => 'gone'), { timeout: 60_000 })
    .toBe('gone')
})

function onlyUnderSystemd(skip: TestContext['skip']): void {
  const { systemd, cgroups } = host
  skip(
    !systemd || cgroups.mode !== 'v2',
    `this host has no systemd with cgroup v2 (${cgroups.mode})`,
  )
}

function start(facts: HostFacts): Promise<Launcher> {
  return Launcher.start(facts.rootless ? { user: planUserNamespace(facts) } : {})
}
