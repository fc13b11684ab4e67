import { mkdir, readFile } from 'node:fs/promises'
import { spawn, spawnSync } from 'node:child_process'
import { release } from 'node:os'
import { expect, onTestFinished, test } from 'vitest'
import { openCgroupBase } from '../../src/runtime/cgroup-base.ts'
import { planContainerCgroups } from '../../src/runtime/cgroup.ts'
import { readHostFacts } from '../../src/runtime/host.ts'
import { testEngine } from '../support/engine.ts'
import { stop } from '../support/process.ts'
import { root } from '../support/repository.ts'

test('the facts are those of this machine', async () => {
  const host = await readHostFacts()
  expect(host.kernel.release).toBe(release())
  expect(host.kernel.version[0]).toBeGreaterThanOrEqual(5)
  expect(host.uid).toBe(process.geteuid?.())
  expect(host.rootless).toBe(host.uid !== 0)
  const types = spawnSync('findmnt', ['-rno', 'FSTYPE,OPTIONS', '-t', 'cgroup,cgroup2'], {
    encoding: 'utf8',
  }).stdout
  const unified = /^cgroup2 /m.test(types)
  const legacy = /^cgroup (?!.*name=)/m.test(types)
  const mode = unified ? (legacy ? 'hybrid' : 'v2') : legacy ? 'v1' : 'none'
  expect(host.cgroups.mode).toBe(mode)
})

test('a place for cgroups is made in which a container finds every controller', async () => {
  const host = await readHostFacts()
  const sleeper = spawn('sleep', ['infinity'])
  onTestFinished(() => stop(sleeper))
  const { base, way } = await openCgroupBase(host, {
    engine: `test-${process.pid}`,
    pid: sleeper.pid ?? -1,
  })
  if (host.rootless && way === 'none') {
    expect(() => planContainerCgroups(base, 'c', ['memory'])).toThrow(base.remedy)
    return
  }
  const { v2, v1 } = planContainerCgroups(base, `test-${process.pid}`, ['memory', 'pids'])
  for (const directory of [v2, ...Object.values(v1 ?? {})]) {
    if (directory !== undefined) await mkdir(directory, { recursive: true })
  }
  const memory = v1?.['memory'] ? `${v1['memory']}/memory.limit_in_bytes` : `${v2}/memory.max`
  expect(await readFile(memory, 'utf8')).toMatch(/\d+|max/)
  for (const directory of [v2, ...Object.values(v1 ?? {})]) {
    if (directory !== undefined) spawnSync('rmdir', [directory])
  }
})

test('an engine says which version it is, and what this host lacks and the remedy', async () => {
  await using on = await testEngine()
  const { version } = JSON.parse(await readFile(`${root}/package.json`, 'utf8')) as {
    version: string
  }
  expect(on.engine.version()).toEqual({ keelson: version, helper: version })
  const found = await on.engine.doctor()
  expect(found.find(({ code }) => code === 'kernel')).toMatchObject({ ok: true })
  // A finding that is not ok names its remedy; one that is has none to name.
  expect(found.filter(({ ok, remedy }) => ok === (remedy !== undefined))).toEqual([])
})
