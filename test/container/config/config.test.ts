import { describe, expect, test } from 'vitest'
import { computeConfig } from '../../../src/container/config/config.ts'
import type { RunOptions } from '../../../src/container/options/options.ts'
import { CAPABILITIES } from '../../../src/security/capabilities.ts'
import { configInput, configSchema } from '../config-input.ts'

const validate = configSchema()

const TABLE: RunOptions[] = [
  {},
  { networks: 'host', pid: 'host', ipc: 'host', uts: 'host' },
  { memory: '64m', memorySwap: -1, memoryReservation: '32m', cpus: 1.5, cpuShares: 512 },
  { memory: '6m', memorySwap: '6m', cpuset: '0-1,3', pids: 100 },
  { pids: -1, ulimits: { nofile: 1024, core: -1, nproc: { soft: 1, hard: 2 } } },
  { privileged: true },
  { capAdd: ['NET_ADMIN'], capDrop: ['ALL'], noNewPrivileges: true, readonly: true },
  { sysctls: { 'net.core.somaxconn': '10' }, oomScoreAdj: -5, shmSize: '1m', init: true },
  { hostname: 'a', domainname: 'b.c', annotations: { 'org.x': 'y' }, workdir: '/a/b' },
  { mounts: ['/tmp:/x:ro', { type: 'tmpfs', target: '/y', size: '1m', mode: 0o700 }] },
]

describe('computeConfig', () => {
  test.each(TABLE.flatMap((options) => [false, true].map((rootless) => ({ options, rootless }))))(
    'follows the specification: %j',
    ({ options, rootless }) => {
      const given = configInput(options)
      const config = computeConfig({ ...given, host: { ...given.host, rootless } })
      validate(JSON.parse(JSON.stringify(config)))
      expect(validate.errors).toBeNull()
    },
  )

  test('the same input gives the same configuration', () => {
    expect(computeConfig(configInput({ memory: '64m' }))).toEqual(
      computeConfig(configInput({ memory: '64m' })),
    )
  })

  test('"unlimited" stays below 2^64 in JSON', () => {
    const { process } = computeConfig(configInput({ ulimits: { core: -1 } }))
    const text = /"soft":(\d+)/.exec(JSON.stringify(process))?.[1] ?? ''
    expect(BigInt(text)).toBeLessThan(2n ** 64n)
    expect(BigInt(text)).toBeGreaterThanOrEqual(2n ** 63n)
  })

  test('privileged hides nothing and filters what the caller says', () => {
    const { linux, process, mounts } = computeConfig(
      configInput({ privileged: true }, { seccomp: undefined }),
    )
    expect(linux).toMatchObject({ maskedPaths: [], readonlyPaths: [] })
    expect(linux.seccomp).toBeUndefined()
    expect(process.capabilities.bounding).toEqual(CAPABILITIES)
    expect(mounts.find(({ destination }) => destination === '/sys')?.options).not.toContain('ro')
  })

  test('a mount of the caller takes the place of the default, and of those below it', () => {
    const { mounts } = computeConfig(configInput({ mounts: ['/tmp:/dev'] }))
    const targets = mounts.map(({ destination }) => destination)
    expect(targets.filter((path) => path.startsWith('/dev'))).toEqual(['/dev'])
  })

  test('the files with names are read-only where the root is', () => {
    const { mounts, root } = computeConfig(configInput({ readonly: true }))
    expect(root.readonly).toBe(true)
    const hosts = mounts.find(({ destination }) => destination === '/etc/hosts')
    expect(hosts?.options).toContain('ro')
  })

  test('a limit that no cgroup can apply is an error with the remedy', () => {
    const none = { v1: {}, swapAccounting: false, remedy: 'Do this.' }
    expect(() => computeConfig(configInput({ memory: '64m' }, { cgroups: none }))).toThrow(
      expect.objectContaining({ code: 'KEELSON_CGROUP_UNAVAILABLE', hint: 'Do this.' }),
    )
    // A default is no reason to fail.
    expect(computeConfig(configInput({}, { cgroups: none })).linux.resources.pids).toBeUndefined()
  })

  test('an ordinary user cannot share mounts with the host', () => {
    const given = configInput({ mounts: ['/tmp:/x:rshared'] })
    expect(computeConfig(given).linux.rootfsPropagation).toBe('shared')
    expect(() => computeConfig({ ...given, host: { ...given.host, rootless: true } })).toThrow(
      expect.objectContaining({ code: 'KEELSON_UNSUPPORTED', option: 'mounts' }),
    )
  })

  test('without the right to choose it, the OOM score is inherited', () => {
    const able = configInput({})
    const unable = { ...able, capabilities: ['CAP_SYS_ADMIN'] }
    expect(computeConfig(able).process.oomScoreAdj).toBe(0)
    expect(computeConfig(unable).process.oomScoreAdj).toBeUndefined()
    const asked = configInput({ oomScoreAdj: 5 }, { capabilities: [] })
    expect(computeConfig(asked).process.oomScoreAdj).toBe(5)
  })
})
