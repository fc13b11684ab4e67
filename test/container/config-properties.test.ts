import {
  array,
  assert,
  boolean,
  constantFrom,
  dictionary,
  double,
  integer,
  pre,
  property,
  record,
  string,
  stringMatching,
  type Arbitrary,
} from 'fast-check'
import { describe, expect, test } from 'vitest'
import { computeConfig } from '../../src/container/config/config.ts'
import type { RunOptions } from '../../src/container/options/options.ts'
import { CAPABILITIES } from '../../src/security/capabilities.ts'
import { configInput, configSchema } from './config-input.ts'

const MIB = 2 ** 20
const word = stringMatching(/^[a-z]{1,8}$/)
const path = array(word, { minLength: 1, maxLength: 3 }).map((words) => `/${words.join('/')}`)
const name = stringMatching(/^[a-zA-Z0-9]{1,20}$/)
const text = string({ unit: 'grapheme' }).filter((each) => !each.includes('\0'))
const shared = constantFrom('private' as const, 'host' as const)

/** Everything that a run takes, as far as one option does not forbid another. */
const options = record<Required<Omit<RunOptions, Unrelated>>>(
  {
    entrypoint: array(
      text.filter((each) => each !== ''),
      { minLength: 1, maxLength: 3 },
    ),
    env: dictionary(name, text),
    user: constantFrom('0', '1000', '7:8'),
    workdir: path,
    labels: dictionary(word, text),
    annotations: dictionary(word, text),
    memory: integer({ min: 6 * MIB, max: 2 ** 40 }),
    memorySwap: constantFrom(-1, 2 ** 41),
    cpus: double({ min: 0.01, max: 64, noNaN: true }),
    cpuShares: integer({ min: 2, max: 262_144 }),
    cpuset: constantFrom('0', '0-3', '1,3'),
    pids: constantFrom(-1, 0, 1, 100_000),
    ulimits: dictionary(constantFrom('nofile', 'core', 'nproc'), integer({ min: -1 })),
    shmSize: integer({ min: 0, max: 2 ** 40 }),
    oomScoreAdj: integer({ min: -1000, max: 1000 }),
    capAdd: array(constantFrom(...CAPABILITIES, 'ALL')),
    capDrop: array(constantFrom(...CAPABILITIES, 'ALL')),
    privileged: boolean(),
    readonly: boolean(),
    noNewPrivileges: boolean(),
    init: boolean(),
    networks: constantFrom('none', 'host'),
    pid: shared,
    ipc: shared,
    mounts: mountLists(),
    dns: constantFrom(['192.0.2.1'], []),
    extraHosts: dictionary(word, constantFrom('192.0.2.1', '::1')),
  },
  { requiredKeys: ['entrypoint'] },
  // Swap is limited together with memory only.
).map(({ memorySwap, ...rest }) =>
  rest.memory === undefined || memorySwap === undefined ? rest : { ...rest, memorySwap },
)

type Unrelated = Exclude<
  keyof RunOptions,
  | ('entrypoint' | 'env' | 'user' | 'workdir' | 'labels' | 'annotations' | 'memory' | 'memorySwap')
  | ('cpus' | 'cpuShares' | 'cpuset' | 'pids' | 'ulimits' | 'shmSize' | 'oomScoreAdj' | 'capAdd')
  | ('capDrop' | 'privileged' | 'readonly' | 'noNewPrivileges' | 'init' | 'networks' | 'pid')
  | ('ipc' | 'mounts' | 'dns' | 'extraHosts')
>

function mountLists(): Arbitrary<NonNullable<RunOptions['mounts']>> {
  const propagation = constantFrom('private', 'rprivate', 'slave', 'shared')
  const bind = record(
    { source: path, target: path, readonly: boolean(), propagation },
    { requiredKeys: ['source', 'target'] },
  ).map((mount) => ({ type: 'bind' as const, ...mount }))
  const tmpfs = record(
    { target: path, readonly: boolean(), size: integer({ min: 0 }), mode: constantFrom(0o700) },
    { requiredKeys: ['target'] },
  ).map((mount) => ({ type: 'tmpfs' as const, ...mount }))
  return array(bind, { maxLength: 3 }).chain((binds) =>
    array(tmpfs, { maxLength: 3 }).map((others) => {
      const byTarget = new Map([...binds, ...others].map((mount) => [mount.target, mount]))
      return [...byTarget.values()]
    }),
  )
}

/** Directories of the host that an engine has to do with. */
const HOST_PATHS = ['/run/bundle', '/l', '/u', '/w', '/writable', '/sys/fs/cgroup/keelson']

const validate = configSchema()

describe('whatever the options are', () => {
  test('the configuration follows the specification, rootless or not', () => {
    assert(
      property(options, boolean(), (given, rootless) => {
        const input = configInput(given)
        // What is mounted in an ordinary user's container cannot reach the host.
        pre(!rootless || !strings(given.mounts).includes('shared'))
        const config = computeConfig({ ...input, host: { ...input.host, rootless } })
        validate(JSON.parse(JSON.stringify(config)))
        expect(validate.errors).toBeNull()
      }),
    )
  })

  test('the same give the same, and are left as they were', () => {
    assert(
      property(options, (given) => {
        const input = configInput(given)
        const before = structuredClone({ ...input, seccomp: undefined })
        expect(computeConfig(input)).toEqual(computeConfig(configInput(given)))
        expect({ ...input, seccomp: undefined }).toEqual(before)
      }),
    )
  })

  test('the program learns no path of the host, but through the mounts that the caller asked for', () => {
    assert(
      property(options, (given) => {
        const { process, hostname, linux, mounts } = computeConfig(configInput(given))
        const { seccomp: _, ...plan } = linux
        const told = new Set(strings([process, hostname, plan]))
        for (const each of HOST_PATHS) {
          if (!strings(given).includes(each)) expect(told).not.toContain(each)
        }
        const asked = new Set(strings(given.mounts))
        const own = ['hosts', 'hostname', 'resolv.conf'].map((file) => `/run/bundle/${file}`)
        const sources = mounts.filter(({ type }) => type === 'bind').map(({ source }) => source)
        // With the host's IPC namespace its shared memory belongs to it.
        const allowed = new Set([...asked, ...own, ...(given.ipc === 'host' ? ['/dev/shm'] : [])])
        expect(sources.filter((source) => !allowed.has(source))).toEqual([])
      }),
    )
  })

  test('nothing is mounted below a mount that comes later', () => {
    assert(
      property(options, (given) => {
        const { mounts } = computeConfig(configInput(given))
        const targets = mounts.map(({ destination }) => destination)
        expect(new Set(targets).size).toBe(targets.length)
        for (const [index, target] of targets.entries()) {
          const hiding = targets.slice(index + 1).filter((later) => target.startsWith(`${later}/`))
          expect(hiding).toEqual([])
        }
      }),
    )
  })

  test('no capability is in effect that may not be had, and none without privileges for a user', () => {
    assert(
      property(options, constantFrom(0, 1000), (given, uid) => {
        const user = { uid, gid: 0, additionalGids: [], home: '/' }
        const { capabilities } = computeConfig(configInput(given, { user })).process
        const { bounding, effective, permitted } = capabilities
        expect(effective).toEqual(permitted)
        expect(effective).toEqual(uid === 0 ? bounding : [])
      }),
    )
  })
})

function strings(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return []
  return Object.values(value).flatMap(strings)
}
