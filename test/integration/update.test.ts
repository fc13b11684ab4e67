import { existsSync } from 'node:fs'
import { readFile, readlink, stat } from 'node:fs/promises'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Container, CreateOptions, UpdateOptions } from '../../src/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'

const MIB = 2 ** 20

let test: TestEngine
beforeAll(async () => {
  test = await testEngine()
})
afterAll(async () => await test?.[Symbol.asyncDispose]())

const run = async (options: Partial<CreateOptions> = {}) =>
  await test.engine.containers.run({ image: test.image, command: ['sleep', '1000'], ...options })

/** What the kernel says of a limit: from a file of cgroup v1, else from one of v2. */
async function limit(container: Container, v1: `${string}:${string}`, v2: string) {
  const { runtime } = await container.inspect()
  const [controller = '', file = ''] = v1.split(':')
  const { v1: hierarchies, v2: unified } = runtime.keelson.cgroups
  const directory = hierarchies?.[controller]
  const path = directory === undefined ? join(unified ?? '', v2) : join(directory, file)
  return { is: directory === undefined ? 'v2' : 'v1', text: (await readFile(path, 'utf8')).trim() }
}

/** A number; cgroup v1 has the greatest there is for none. */
async function numeric(container: Container, v1: `${string}:${string}`, v2: string) {
  const { text } = await limit(container, v1, v2)
  const number = Number(text)
  return text === 'max' || text === '-1' || number > 2 ** 60 ? Infinity : number
}

const memory = (c: Container) => numeric(c, 'memory:memory.limit_in_bytes', 'memory.max')
const pids = (c: Container) => numeric(c, 'pids:pids.max', 'pids.max')
const reservation = (c: Container) => numeric(c, 'memory:memory.soft_limit_in_bytes', 'memory.low')

describe('an update of a running container', () => {
  it('changes memory, the reservation and pids, and takes them away', async () => {
    await using container = await run({ memory: '64m' })
    await container.update({
      memory: '128m',
      memorySwap: '128m',
      memoryReservation: '32m',
      pids: 50,
    })
    expect([await memory(container), await reservation(container), await pids(container)]).toEqual([
      128 * MIB,
      32 * MIB,
      50,
    ])
    await container.update({ pids: 60 })
    expect([await memory(container), await pids(container)]).toEqual([128 * MIB, 60])
    await container.update({ memory: 0, memoryReservation: 0, pids: -1 })
    expect([await memory(container), await pids(container)]).toEqual([Infinity, Infinity])
    expect([0, Infinity]).toContain(await reservation(container))
    const { options } = await container.inspect()
    expect(options).not.toHaveProperty('memory')
    expect(options).not.toHaveProperty('memorySwap')
    // A restart has what was last asked for, too.
    await container.update({ memory: '96m' })
    await container.restart({ timeout: 0 })
    expect(await memory(container)).toBe(96 * MIB)
  })

  it('changes processors and their time, and takes these limits away', async () => {
    await using container = await run()
    await container.update({ cpus: 0.5, cpuShares: 512, cpuset: '0' })
    const quota = async () => (await limit(container, 'cpu:cpu.cfs_quota_us', 'cpu.max')).text
    const shares = async () => (await limit(container, 'cpu:cpu.shares', 'cpu.weight')).text
    expect(await quota()).toMatch(/^50000( 100000)?$/)
    expect(['512', '20']).toContain(await shares())
    const allowed = async () => (await container.exec(['nproc'])).stdout.trim()
    expect(await allowed()).toBe('1')
    await container.update({ cpus: 0, cpuShares: 0, cpuset: '' })
    expect(await quota()).toMatch(/^(-1|max 100000)$/)
    expect(['1024', '39', '100']).toContain(await shares())
    expect(await allowed()).toBe(String(cpus().length))
  })

  it('changes how readily memory is swapped, where the kernel has that', async () => {
    await using container = await run({ memory: '64m' })
    const { is } = await limit(container, 'memory:memory.limit_in_bytes', 'memory.max')
    const update = container.update({ memorySwappiness: 7 })
    if (is === 'v2') {
      await expect(update).rejects.toMatchObject({ code: 'KEELSON_CGROUP_UNAVAILABLE' })
      expect((await container.inspect()).options).not.toHaveProperty('memorySwappiness')
      return
    }
    await update
    expect(await numeric(container, 'memory:memory.swappiness', '')).toBe(7)
    expect((await container.inspect()).options.memorySwappiness).toBe(7)
  })

  it('changes rates of block devices, each for itself', async () => {
    const disk = await diskOf(test.root)
    await using container = await run({ blkio: { writeBps: { [disk]: '4m' } } })
    const rates = async () => {
      const write = await limit(container, 'blkio:blkio.throttle.write_bps_device', 'io.max')
      const read = await limit(container, 'blkio:blkio.throttle.read_iops_device', 'io.max')
      return [
        /(?:wbps=| )(\d+)$/.exec(write.is === 'v2' ? wordOf(write.text, 'wbps') : write.text)?.[1],
        /(?:riops=| )(\d+)$/.exec(read.is === 'v2' ? wordOf(read.text, 'riops') : read.text)?.[1],
      ]
    }
    await container.update({ blkio: { readIops: { [disk]: 100 } } })
    expect(await rates()).toEqual([String(4 * MIB), '100'])
    await container.update({ blkio: { writeBps: { [disk]: 0 } } })
    expect(await rates()).toEqual([undefined, '100'])
    const { options } = await container.inspect()
    expect(options.blkio).toMatchObject({ writeBps: {}, readIops: { [disk]: 100 } })
  })

  it('changes limits of huge pages', async (ctx) => {
    const size = '2MB'
    ctx.skip(!existsSync('/sys/kernel/mm/hugepages/hugepages-2048kB'), 'no huge pages')
    await using container = await run({ hugetlb: { [size]: '4m' } })
    await container.update({ hugetlb: { [size]: '8m' } })
    const file = 'hugetlb.2MB'
    expect(await numeric(container, `hugetlb:${file}.limit_in_bytes`, `${file}.max`)).toBe(8 * MIB)
    expect((await container.inspect()).options.hugetlb).toEqual({ [size]: 8 * MIB })
  })
})

describe('an update', () => {
  it('of a container that does not run holds from its start on', async () => {
    await using container = await test.engine.containers.create({
      image: test.image,
      command: ['sleep', '1000'],
      memory: '64m',
      pids: 10,
    })
    await container.update({ memory: '32m', memorySwap: '32m', pids: -1 })
    await container.start()
    expect([await memory(container), await pids(container)]).toEqual([32 * MIB, Infinity])
  })

  it.each<UpdateOptions>([
    { memory: '1k' },
    { memory: '32m', memorySwap: '16m' },
    { memoryReservation: '1g' },
    { cpus: -1 },
    { cpuset: 'all' },
    { blkio: { readBps: { '/dev/null': 1 } } },
    { blkio: { readBps: { sda: 1 } } },
    { restart: 'sometimes' },
    { image: 'x' } as UpdateOptions,
    null as never,
  ])('that makes no sense changes nothing: %j', async (changes) => {
    await using container = await run({ memory: '64m' })
    const { options } = await container.inspect()
    await expect(container.update(changes)).rejects.toMatchObject({
      code: 'KEELSON_INVALID_OPTION',
    })
    expect((await container.inspect()).options).toEqual(options)
    expect(await memory(container)).toBe(64 * MIB)
  })
})

const wordOf = (line: string, key: string) =>
  line.split(' ').find((word) => word.startsWith(`${key}=`)) ?? ''

/** The whole disk that a directory lies on. */
async function diskOf(path: string): Promise<string> {
  const { dev } = await stat(path)
  const device = await readlink(`/sys/dev/block/${dev >> 8}:${dev & 0xff}`)
  const partition = await stat(`/sys/dev/block/${dev >> 8}:${dev & 0xff}/partition`).catch(() => {})
  return `/dev/${(partition ? dirname(device) : device).split('/').at(-1)}`
}
