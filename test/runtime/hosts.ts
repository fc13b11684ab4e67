import type { HostFacts } from '../../src/runtime/host.ts'

/** Hosts as users have them, for tables. */

const CONTROLLERS = ['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids']

/** Debian 13, root. */
export const server: HostFacts = {
  kernel: { release: '6.12.48+deb13-amd64', version: [6, 12] },
  architecture: 'amd64',
  uid: 0,
  gid: 0,
  userName: 'root',
  rootless: false,
  cgroups: {
    mode: 'v2',
    v2: {
      root: '/sys/fs/cgroup',
      own: '/sys/fs/cgroup/system.slice/app.service',
      rootWritable: true,
      ownWritable: true,
      controllers: CONTROLLERS,
      ownControllers: CONTROLLERS,
      rootIsReal: true,
    },
    v1: {},
    swapAccounting: true,
  },
  systemd: true,
  apparmor: true,
  seccomp: true,
  overlay: true,
  userNamespaces: { max: 60_000, unprivileged: true, restrictedByApparmor: false },
  uidRanges: [],
  gidRanges: [],
  newuidmap: '/usr/bin/newuidmap',
  newgidmap: '/usr/bin/newgidmap',
  thermalThrottle: [],
  directories: { home: '/root', data: '/root/.local/share', runtime: '/run/user/0' },
}

const serverV2 = server.cgroups.v2 as NonNullable<HostFacts['cgroups']['v2']>

/** The same host, logged in by ssh as an ordinary user. */
export const desktop: HostFacts = {
  ...server,
  uid: 1000,
  gid: 1000,
  userName: 'ada',
  rootless: true,
  uidRanges: [{ start: 100_000, size: 65_536 }],
  gidRanges: [{ start: 100_000, size: 65_536 }],
  directories: { home: '/home/ada', data: '/home/ada/.local/share', runtime: '/run/user/1000' },
  cgroups: {
    ...server.cgroups,
    v2: {
      ...serverV2,
      own: '/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope',
      rootWritable: false,
      ownWritable: false,
    },
  },
}

/** Root on a host without systemd (Alpine, a minimal virtual machine). */
export const plain: HostFacts = { ...server, systemd: false }

/** Root of a container with a cgroup namespace and a writable cgroup file system. */
export const nested: HostFacts = {
  ...plain,
  cgroups: {
    ...server.cgroups,
    v2: { ...serverV2, own: '/sys/fs/cgroup', rootIsReal: false },
  },
}

/** Root, v1 controllers beside a v2 tree. */
export const hybrid: HostFacts = {
  ...plain,
  cgroups: {
    mode: 'hybrid',
    v2: {
      ...serverV2,
      root: '/sys/fs/cgroup/unified',
      own: '/sys/fs/cgroup/unified',
      controllers: ['hugetlb'],
      ownControllers: ['hugetlb'],
    },
    v1: Object.fromEntries(
      ['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'blkio', 'pids'].map((name) => [
        name,
        {
          root: `/sys/fs/cgroup/${name}`,
          own: `/sys/fs/cgroup/${name}`,
          rootWritable: true,
          ownWritable: true,
        },
      ]),
    ),
    swapAccounting: true,
  },
}

/** Root, v1 only. */
export const legacy: HostFacts = {
  ...hybrid,
  cgroups: { mode: 'v1', v1: hybrid.cgroups.v1, swapAccounting: false },
}
