import { expect, test } from 'vitest'
import {
  cgroupDirectories,
  cgroupRemedy,
  cgroupStrategies,
  planContainerCgroups,
  type CgroupBase,
  type CgroupLimit,
} from '../../src/runtime/cgroup.ts'
import type { HostFacts } from '../../src/runtime/host.ts'
import { desktop, hybrid, legacy, nested, plain, server } from './hosts.ts'

const withoutRuntime: HostFacts = { ...desktop, directories: { home: '/h', data: '/d' } }
const v2Of = ({ cgroups: { v2 } }: HostFacts) => v2 as NonNullable<typeof v2>
const delegated: HostFacts = {
  ...withoutRuntime,
  cgroups: { ...desktop.cgroups, v2: { ...v2Of(desktop), ownWritable: true } },
}

test.each<[string, HostFacts, string[]]>([
  ['root where systemd runs', server, ['scope', 'root', 'own', 'none']],
  ['root without systemd', plain, ['root', 'own', 'none']],
  ['root of a container', nested, ['own', 'none']],
  ['root, hybrid', hybrid, ['root', 'own', 'none']],
  ['root, v1', legacy, ['root', 'own', 'none']],
  ['a user in a login session', desktop, ['scope', 'none']],
  ['a user without a session', withoutRuntime, ['none']],
  ['a user in a delegated cgroup', delegated, ['own', 'none']],
  [
    'nothing mounted',
    { ...server, cgroups: { mode: 'none', v1: {}, swapAccounting: false } },
    ['none'],
  ],
])('%s', (_, host, ways) => {
  expect(cgroupStrategies(host).map(({ way }) => way)).toEqual(ways)
})

test('root asks the manager of the system, a user his own', () => {
  expect(cgroupStrategies(server)[0]).toEqual({ way: 'scope', manager: 'system' })
  expect(cgroupStrategies(desktop)[0]).toEqual({ way: 'scope', manager: 'user' })
})

test('containers go below the root of each hierarchy, or below the own cgroup', () => {
  expect(cgroupDirectories(plain.cgroups, 'root')).toEqual({
    v2: { parent: '/sys/fs/cgroup', directory: '/sys/fs/cgroup/keelson' },
    v1: {},
  })
  expect(cgroupDirectories(delegated.cgroups, 'own').v2?.directory).toBe(
    '/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope/keelson',
  )
  const { v2, v1 } = cgroupDirectories(hybrid.cgroups, 'root')
  expect(v2?.directory).toBe('/sys/fs/cgroup/unified/keelson')
  expect(v1['memory']).toBe('/sys/fs/cgroup/memory/keelson')
})

test('a second engine of a process that moved to a leaf uses the same place', () => {
  const own = `${v2Of(delegated).own}/keelson-host`
  const moved = { ...delegated.cgroups, v2: { ...v2Of(delegated), own } }
  expect(cgroupDirectories(moved, 'own')).toEqual(cgroupDirectories(delegated.cgroups, 'own'))
})

const unified: CgroupBase = {
  v2: { directory: '/sys/fs/cgroup/x.scope', controllers: ['cpu', 'memory', 'pids'] },
  v1: {},
  swapAccounting: true,
  remedy: 'the remedy',
}
const mixed: CgroupBase = {
  v2: { directory: '/sys/fs/cgroup/unified/keelson', controllers: ['hugetlb'] },
  v1: {
    memory: '/sys/fs/cgroup/memory/keelson',
    cpu: '/sys/fs/cgroup/cpu/keelson',
    blkio: '/sys/fs/cgroup/blkio/keelson',
    devices: '/sys/fs/cgroup/devices/keelson',
    freezer: '/sys/fs/cgroup/freezer/keelson',
  },
  swapAccounting: true,
  remedy: 'the remedy',
}
const { v2: _, ...old } = mixed

test.each<[string, CgroupBase, CgroupLimit[], object]>([
  ['v2', unified, ['memory', 'swap', 'cpu', 'pids'], { v2: '/sys/fs/cgroup/x.scope/c1' }],
  ['v2, no limits', unified, [], { v2: '/sys/fs/cgroup/x.scope/c1' }],
  [
    'hybrid',
    mixed,
    ['memory', 'io', 'hugetlb'],
    {
      v2: '/sys/fs/cgroup/unified/keelson/c1',
      v1: {
        memory: '/sys/fs/cgroup/memory/keelson/c1',
        blkio: '/sys/fs/cgroup/blkio/keelson/c1',
        devices: '/sys/fs/cgroup/devices/keelson/c1',
      },
    },
  ],
  [
    'v1, no limits',
    old,
    [],
    {
      v1: {
        devices: '/sys/fs/cgroup/devices/keelson/c1',
        freezer: '/sys/fs/cgroup/freezer/keelson/c1',
      },
    },
  ],
  ['none', { v1: {}, swapAccounting: true, remedy: '' }, [], {}],
])('the cgroups of a container: %s', (_name, base, limits, expected) => {
  expect(planContainerCgroups(base, 'c1', limits)).toEqual(expected)
})

test.each<[CgroupBase, CgroupLimit, string]>([
  [unified, 'io', 'the remedy'],
  [unified, 'cpuset', 'the remedy'],
  [mixed, 'pids', 'the remedy'],
  [{ ...unified, swapAccounting: false }, 'swap', 'Boot the kernel with swapaccount=1.'],
  [{ v1: {}, swapAccounting: true, remedy: 'the remedy' }, 'memory', 'the remedy'],
])('a limit that cannot be applied is an error with the remedy', (base, limit, hint) => {
  expect(() => planContainerCgroups(base, 'c1', [limit])).toThrow(
    expect.objectContaining({ code: 'KEELSON_CGROUP_UNAVAILABLE', limit, hint }),
  )
})

test.each<[HostFacts, RegExp]>([
  [desktop, /systemd-run --user --scope -p Delegate=yes.*user@\.service\.d/s],
  [{ ...desktop, systemd: false }, /chown/],
  [{ ...desktop, cgroups: hybrid.cgroups }, /unified_cgroup_hierarchy=1/],
  [nested, /writable/],
  [{ ...server, cgroups: { mode: 'none', v1: {}, swapAccounting: false } }, /Mount cgroup2/],
])('each host has its remedy', (host, remedy) => {
  expect(cgroupRemedy(host)).toMatch(remedy)
})
