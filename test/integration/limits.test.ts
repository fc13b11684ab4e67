import { readFile, readlink, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RunOptions } from '../../src/index.ts'
import { testEngine, type TestEngine } from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await testEngine()
})
afterAll(() => test[Symbol.asyncDispose]())

const sh = (script: string, options: RunOptions = {}) =>
  test.engine.run(test.image, ['sh', '-c', script], { reject: false, ...options })

describe('a program runs into its limit', () => {
  it('of processor time', async () => {
    const busy = 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'
    const file =
      '$(ls /sys/fs/cgroup/cpu.stat /sys/fs/cgroup/cpu*/cpu.stat 2>/dev/null | head -n 1)'
    const { stdout, stderr } = await sh(`${busy}; cat ${file}`, { cpus: 0.2 })
    expect(stderr).toBe('')
    expect(Number(/nr_throttled (\d+)/.exec(stdout)?.[1])).toBeGreaterThan(0)
  })

  it('of processors', async () => {
    const { stdout } = await sh('nproc; grep Cpus_allowed_list /proc/self/status', { cpuset: '1' })
    expect(stdout.trim().split(/\s+/)).toEqual(['1', 'Cpus_allowed_list:', '1'])
  })

  it('of open files and of file size', async () => {
    const { stdout, stderr } = await sh('ulimit -n; dd if=/dev/zero of=/tmp/f bs=1k count=100', {
      ulimits: { nofile: 77, fsize: 51_200 },
    })
    expect(stdout).toBe('77\n')
    expect(stderr).toMatch(/file too large|File too large|File size limit/i)
  })

  it('of /dev/shm', async () => {
    const { stderr, exitCode } = await sh('dd if=/dev/zero of=/dev/shm/f bs=1M count=3', {
      shmSize: '2m',
    })
    expect(exitCode).toBe(1)
    expect(stderr).toContain('No space left on device')
  })

  it('of writes to a disk: the kernel lets no more through', async () => {
    const rate = 1024 * 1024
    const script = 'dd if=/dev/zero of=/f bs=256k count=8 oflag=direct'
    const { stderr, exitCode, durationMs } = await sh(script, {
      blkio: { writeBps: { [await diskOf(test.root)]: rate } },
    })
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining('8+0 records out')])
    // 2 MiB at 1 MiB a second; the first slice may go at once.
    expect(durationMs).toBeGreaterThan(1000)
  })

  it('of huge pages', async (ctx) => {
    const path = '/proc/sys/vm/nr_hugepages'
    const before = await readFile(path, 'utf8')
    await writeFile(path, '4')
    try {
      const pages = Number(await readFile(path, 'utf8'))
      ctx.skip(pages < 4, 'the kernel has no memory for huge pages')
      const script =
        'mkdir /h && mount -t hugetlbfs none /h && /bin/busybox fallocate -l 4194304 /h/f'
      const options = { privileged: true }
      const enough = await sh(script, { ...options, hugetlb: { '2MB': '4m' } })
      expect([enough.exitCode, enough.stderr]).toEqual([0, ''])
      const little = await sh(script, { ...options, hugetlb: { '2MB': '2m' } })
      expect(little.exitCode).not.toBe(0)
    } finally {
      await writeFile(path, before)
    }
  })

  it('of devices: what no rule allows cannot be opened', async () => {
    const script = '/bin/busybox mknod /kmsg c 1 11 && head -c 0 /kmsg'
    const refused = await sh(script)
    expect(refused.stderr).toContain('Operation not permitted')
    const allowed = await sh(script, { deviceCgroupRules: ['c 1:11 r'], capAdd: ['SYSLOG'] })
    expect([allowed.exitCode, allowed.stderr]).toEqual([0, ''])
  })
})

describe('a limit that makes no sense', () => {
  it.each<[RunOptions, RegExp]>([
    [{ blkio: { weight: 5 } }, /blkio\.weight must be a number from 10 to 1000/],
    [{ blkio: { readBps: { sda: 1 } } }, /names no device by its path: sda/],
    [{ blkio: { readBps: { '/dev/sda': 0 } } }, /no rate above 0/],
    [{ blkio: { readBps: { '/dev/null': 1 } } }, /no block device \/dev\/null/],
    [{ hugetlb: { '2M': 1 } }, /no page size: 2M/],
    [{ deviceCgroupRules: ['c 1 rwm'] }, /cannot be read: "c 1 rwm"/],
    [{ memorySwappiness: 101 }, /from 0 to 100/],
  ])('%j is refused', async (options, complaint) => {
    await expect(test.engine.run(test.image, ['true'], options)).rejects.toMatchObject({
      code: 'KEELSON_INVALID_OPTION',
      message: expect.stringMatching(complaint),
    })
  })
})

/** The whole disk that a directory lies on. */
async function diskOf(path: string): Promise<string> {
  const { dev } = await stat(path)
  const device = await readlink(`/sys/dev/block/${dev >> 8}:${dev & 0xff}`)
  const partition = await stat(`/sys/dev/block/${dev >> 8}:${dev & 0xff}/partition`).catch(() => {})
  return `/dev/${(partition ? dirname(device) : device).split('/').at(-1)}`
}
