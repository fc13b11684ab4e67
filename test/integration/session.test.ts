/**
 * Containers on a host as users have it: systemd, cgroup v2, AppArmor; as root and as an ordinary user who is logged in. The
 * virtual machine is such a host (`npm run test:vm`), and there this runs as both.
 */
import { readFile } from 'node:fs/promises'
import { Engine, type Image } from 'keelson'
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest'
import { readHostFacts } from '../../src/runtime/host.ts'
import { temporaryDirectory, type TemporaryDirectory } from '../support/temp.ts'

const MIB = 1024 * 1024
const host = await readHostFacts()

let temp: TemporaryDirectory
let engine: Engine
let image: Image

beforeAll(async () => {
  temp = await temporaryDirectory()
  engine = await Engine.open({ root: temp.join('root'), runRoot: temp.join('run') })
  image = await engine.images.fromHost(['sh', 'cat', 'tail', 'id'])
})

afterAll(async () => {
  await engine.close()
  await temp[Symbol.asyncDispose]()
})

test('whoever runs it is root in the container, and nobody special outside', async () => {
  const { stdout } = await engine.run(image, ['sh', '-c', 'id -u; cat /proc/self/uid_map'])
  const [uid, map = ''] = stdout.split('\n')
  expect(uid).toBe('0')
  expect(map.trim().split(/\s+/)[1]).toBe(String(host.uid))
})

test('limits are those of its cgroup', async ({ skip }) => {
  onlyUnderSystemd(skip)
  const files = ['memory.max', 'pids.max', 'cpu.max'].map((name) => `/sys/fs/cgroup/${name}`)
  const limits = { memory: '64m', pids: 50, cpus: 0.5 }
  const { stdout } = await engine.run(image, ['cat', ...files], limits)
  expect(stdout).toBe(`${64 * MIB}\n50\n50000 100000\n`)
})

test('a program that takes too much memory is killed, and the result says why', async ({
  skip,
}) => {
  onlyUnderSystemd(skip)
  const limits = { memory: '16m', memorySwap: '16m', reject: false }
  const result = await engine.run(image, ['tail', '/dev/zero'], limits)
  expect(result).toMatchObject({ oomKilled: true, signal: 'SIGKILL' })
})

test('root is confined by AppArmor', async ({ skip }) => {
  skip(!host.apparmor, 'this kernel has no AppArmor')
  skip(host.rootless, 'an ordinary user cannot load a profile')
  const { stdout } = await engine.run(image, ['cat', '/proc/self/attr/current'])
  expect(stdout.trim()).toBe('keelson-default (enforce)')
})

test('nothing is left when it has ended', async () => {
  await engine.run(image, ['sh', '-c', 'exit 0'])
  await expect.poll(() => readFile('/proc/self/mountinfo', 'utf8')).not.toContain(temp.path)
})

function onlyUnderSystemd(skip: TestContext['skip']): void {
  const { systemd, cgroups } = host
  const reason = `this host has no systemd with cgroup v2 alone (its cgroups: ${cgroups.mode})`
  skip(!systemd || cgroups.mode !== 'v2', reason)
}
