import { expect, test } from 'vitest'
import { parseCgroupMounts } from '../../src/runtime/cgroup-hierarchy.ts'

const V2 =
  '31 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot'

test('a host of today: v2 only, in a login session', () => {
  const own = '0::/user.slice/user-1000.slice/session-3.scope\n'
  expect(parseCgroupMounts(V2, own)).toEqual({
    mode: 'v2',
    v2: {
      root: '/sys/fs/cgroup',
      own: '/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope',
    },
    v1: {},
  })
})

test('a hybrid host: controllers of v1 beside a v2 tree', () => {
  const mounts = [
    '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:10 - cgroup cgroup rw,cpu,cpuacct',
    '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory',
    '40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd',
    '41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw',
  ].join('\n')
  const own = '9:name=systemd:/\n4:memory:/jobs/7\n1:cpu,cpuacct:/\n0::/\n'
  expect(parseCgroupMounts(mounts, own)).toEqual({
    mode: 'hybrid',
    v2: { root: '/sys/fs/cgroup/unified', own: '/sys/fs/cgroup/unified' },
    v1: {
      cpu: { root: '/sys/fs/cgroup/cpu,cpuacct', own: '/sys/fs/cgroup/cpu,cpuacct' },
      cpuacct: { root: '/sys/fs/cgroup/cpu,cpuacct', own: '/sys/fs/cgroup/cpu,cpuacct' },
      memory: { root: '/sys/fs/cgroup/memory', own: '/sys/fs/cgroup/memory/jobs/7' },
    },
  })
})

test('v1 only', () => {
  const mounts = '35 31 0:32 / /cg/memory rw - cgroup none rw,memory'
  expect(parseCgroupMounts(mounts, '4:memory:/\n')).toMatchObject({ mode: 'v1' })
})

test('in a container that has a part of the tree mounted', () => {
  const mounts = '35 31 0:32 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory'
  const { v1 } = parseCgroupMounts(mounts, '4:memory:/docker/ab/inner\n')
  expect(v1['memory']).toEqual({
    root: '/sys/fs/cgroup/memory',
    own: '/sys/fs/cgroup/memory/inner',
  })
})

test('an own cgroup outside of what is mounted is not named', () => {
  expect(parseCgroupMounts(V2, '0::/../../x\n').v2).toEqual({ root: '/sys/fs/cgroup' })
  const part = '35 31 0:32 /docker/ab /cg/memory rw - cgroup cgroup rw,memory'
  expect(parseCgroupMounts(part, '4:memory:/docker/abc\n').v1['memory']).toEqual({
    root: '/cg/memory',
  })
})

test('blanks in mount points are octal', () => {
  const mounts = String.raw`31 23 0:26 / /sys/my\040cgroups rw - cgroup2 cgroup2 rw`
  expect(parseCgroupMounts(mounts, '0::/\n').v2?.root).toBe('/sys/my cgroups')
})

test('nothing mounted', () => {
  expect(parseCgroupMounts('22 1 8:1 / / rw - ext4 /dev/sda1 rw\n', '')).toEqual({
    mode: 'none',
    v1: {},
  })
})
