import { Ajv, type ValidateFunction } from 'ajv'
import { beforeAll, describe, expect, test } from 'vitest'
import { computeConfig, type ConfigInput } from '../../src/container/config.ts'
import { normalizeRunOptions } from '../../src/container/normalize.ts'
import type { RunOptions } from '../../src/container/options.ts'
import { parseDigest } from '../../src/oci/digest.ts'
import { CAPABILITIES } from '../../src/security/capabilities.ts'
import { DEFAULT_PROFILE } from '../../src/security/seccomp/profile.ts'
import { readSpec } from '../support/spec.ts'

const ID = '0123456789abcdef'.repeat(4)

let validate: ValidateFunction

beforeAll(() => {
  const ajv = new Ajv({ strict: false, logger: false })
  for (const name of ['defs.json', 'defs-linux.json', 'config-linux.json']) {
    ajv.addSchema(withoutDialect(readSpec(`oci-runtime/${name}`)), name)
  }
  validate = ajv.compile(withoutDialect(readSpec('oci-runtime/config-schema.json')))
})

/** The schemas say draft 4, and use nothing of it that later drafts have not. Platforms of which there is no schema here are left out. */
function withoutDialect(schema: unknown): object {
  const { $schema: _, ...rest } = schema as Record<string, unknown>
  const properties = rest['properties'] as Record<string, unknown> | undefined
  if (properties?.['linux'] === undefined) return rest
  const others = new Set(['windows', 'solaris', 'vm', 'zos', 'freebsd'])
  const kept = Object.entries(properties).filter(([name]) => !others.has(name))
  return { ...rest, properties: Object.fromEntries(kept) }
}

function input(options: RunOptions, more: Partial<ConfigInput> = {}): ConfigInput {
  return {
    id: ID,
    options: normalizeRunOptions(['true'], options),
    stdin: options.stdin !== undefined,
    terminal: false,
    everyController: false,
    image: { digest: parseDigest(`sha256:${ID}`), parameters: { Env: ['A=1'] } },
    user: { uid: 0, gid: 0, additionalGids: [0], home: '/root' },
    rootfs: {
      rootfs: [{ type: 'overlay', lower: ['/l'], upper: '/u', work: '/w' }],
      remove: ['/writable'],
      locks: [],
    },
    bundle: '/run/bundle',
    host: {
      architecture: 'amd64',
      kernel: { release: '6.12.0', version: [6, 12] },
      rootless: false,
      thermalThrottle: [],
    },
    hostname: 'host',
    cgroups: {
      v2: { directory: '/sys/fs/cgroup/keelson', controllers: ['memory', 'cpu', 'cpuset', 'pids'] },
      v1: {},
      swapAccounting: true,
      remedy: '',
    },
    capabilities: CAPABILITIES,
    ttyGroup: true,
    seccomp: DEFAULT_PROFILE,
    apparmor: undefined,
    devices: [],
    blockIO: {},
    ...more,
  }
}

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
      const given = input(options)
      const config = computeConfig({ ...given, host: { ...given.host, rootless } })
      validate(JSON.parse(JSON.stringify(config)))
      expect(validate.errors).toBeNull()
    },
  )

  test('the same input gives the same configuration', () => {
    expect(computeConfig(input({ memory: '64m' }))).toEqual(computeConfig(input({ memory: '64m' })))
  })

  test('"unlimited" stays below 2^64 in JSON', () => {
    const { process } = computeConfig(input({ ulimits: { core: -1 } }))
    const text = /"soft":(\d+)/.exec(JSON.stringify(process))?.[1] ?? ''
    expect(BigInt(text)).toBeLessThan(2n ** 64n)
    expect(BigInt(text)).toBeGreaterThanOrEqual(2n ** 63n)
  })

  test('privileged hides nothing and filters what the caller says', () => {
    const { linux, process, mounts } = computeConfig(
      input({ privileged: true }, { seccomp: undefined }),
    )
    expect(linux).toMatchObject({ maskedPaths: [], readonlyPaths: [] })
    expect(linux.seccomp).toBeUndefined()
    expect(process.capabilities.bounding).toEqual(CAPABILITIES)
    expect(mounts.find(({ destination }) => destination === '/sys')?.options).not.toContain('ro')
  })

  test('a mount of the caller takes the place of the default, and of those below it', () => {
    const { mounts } = computeConfig(input({ mounts: ['/tmp:/dev'] }))
    const targets = mounts.map(({ destination }) => destination)
    expect(targets.filter((path) => path.startsWith('/dev'))).toEqual(['/dev'])
  })

  test('the files with names are read-only where the root is', () => {
    const { mounts, root } = computeConfig(input({ readonly: true }))
    expect(root.readonly).toBe(true)
    const hosts = mounts.find(({ destination }) => destination === '/etc/hosts')
    expect(hosts?.options).toContain('ro')
  })

  test('a limit that no cgroup can apply is an error with the remedy', () => {
    const none = { v1: {}, swapAccounting: false, remedy: 'Do this.' }
    expect(() => computeConfig(input({ memory: '64m' }, { cgroups: none }))).toThrow(
      expect.objectContaining({ code: 'KEELSON_CGROUP_UNAVAILABLE', hint: 'Do this.' }),
    )
    // A default is no reason to fail.
    expect(computeConfig(input({}, { cgroups: none })).linux.resources.pids).toBeUndefined()
  })
})
