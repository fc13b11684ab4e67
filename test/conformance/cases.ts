import type { RunOptions } from '../../src/container/options/options.ts'

/** The same wishes, in our words and in those of Docker's API (the body of POST /containers/create). */
export interface Case {
  name: string
  options: RunOptions
  docker?: object
  /** `HostConfig` of the body. */
  host?: object
  /** Default `['true']`; `undefined`: the image's own. */
  command?: string[] | undefined
  /** With everything that an image can configure, or with nothing (the default). */
  image?: 'full' | 'plain'
}

const MIB = 2 ** 20

/** @param source a directory of the host, on a shared mount */
export function cases(source: string): Case[] {
  return [...programs(), ...rights(), ...limits(), ...mounts(source), ...names()]
}

function programs(): Case[] {
  const full = { image: 'full' } as const
  return [
    { name: 'nothing', options: {} },
    { ...full, name: 'what the image says', options: {}, command: undefined },
    { ...full, name: 'a command', options: {}, command: ['x', 'y'], docker: { Cmd: ['x', 'y'] } },
    {
      ...full,
      name: 'an entrypoint',
      options: { entrypoint: '/e' },
      command: undefined,
      docker: { Entrypoint: ['/e'] },
    },
    {
      ...full,
      name: 'no entrypoint',
      options: { entrypoint: '' },
      command: ['x'],
      docker: { Entrypoint: [''], Cmd: ['x'] },
    },
    {
      ...full,
      name: 'an environment',
      options: { env: { A: '9', C: '3', B: undefined, PATH: '/p', E: '' } },
      docker: { Env: ['A=9', 'C=3', 'B', 'PATH=/p', 'E='], Cmd: ['true'] },
    },
    { name: 'a directory', options: { workdir: '/a/../b/' }, docker: { WorkingDir: '/a/../b/' } },
    { name: 'an init', options: { init: true }, host: { Init: true } },
    ...['user', 'user:staff', '1234', '1234:77', 'root:50', '1000'].map((user) => ({
      name: `user ${user}`,
      options: { user },
      docker: { User: user },
    })),
  ]
}

function rights(): Case[] {
  const capabilities: [string[], string[]][] = [
    [['NET_ADMIN', 'cap_sys_time'], []],
    [[], ['MKNOD', 'CHOWN']],
    [['CHOWN'], ['ALL']],
    [['ALL'], []],
    [['ALL'], ['MKNOD']],
    [['ALL'], ['ALL']],
  ]
  return [
    ...capabilities.map(([capAdd, capDrop]) => ({
      name: `capabilities +${capAdd.join()} -${capDrop.join()}`,
      options: { capAdd, capDrop },
      host: { CapAdd: capAdd, CapDrop: capDrop },
    })),
    {
      name: "a user's capabilities",
      options: { capAdd: ['NET_ADMIN'], user: 'user' },
      host: { CapAdd: ['NET_ADMIN'] },
      docker: { User: 'user' },
    },
    { name: 'privileged', options: { privileged: true }, host: { Privileged: true } },
    {
      name: 'privileged, with less',
      options: { privileged: true, capDrop: ['MKNOD'], readonly: true, user: 'user' },
      host: { Privileged: true, CapDrop: ['MKNOD'], ReadonlyRootfs: true },
      docker: { User: 'user' },
    },
    {
      name: 'no new privileges',
      options: { noNewPrivileges: true },
      host: { SecurityOpt: ['no-new-privileges'] },
    },
    {
      name: 'no seccomp',
      options: { seccomp: 'unconfined' },
      host: { SecurityOpt: ['seccomp=unconfined'] },
    },
    {
      name: 'a device by another name',
      options: { devices: ['/dev/null:/dev/other:r'] },
      host: {
        Devices: [
          { PathOnHost: '/dev/null', PathInContainer: '/dev/other', CgroupPermissions: 'r' },
        ],
      },
    },
    {
      name: 'sysctls',
      options: { sysctls: { 'net.core.somaxconn': '10', 'kernel.shmmax': '5' } },
      host: { Sysctls: { 'net.core.somaxconn': '10', 'kernel.shmmax': '5' } },
    },
    { name: "the host's processes", options: { pid: 'host' }, host: { PidMode: 'host' } },
    { name: "the host's IPC", options: { ipc: 'host' }, host: { IpcMode: 'host' } },
  ]
}

function limits(): Case[] {
  const Memory = 64 * MIB
  return [
    { name: 'memory', options: { memory: '64m' }, host: { Memory } },
    { name: 'memory 0', options: { memory: 0 }, host: { Memory: 0 } },
    {
      name: 'memory and swap',
      options: { memory: '64m', memorySwap: '96m' },
      host: { Memory, MemorySwap: 96 * MIB },
    },
    {
      name: 'memory, any swap',
      options: { memory: '64m', memorySwap: -1 },
      host: { Memory, MemorySwap: -1 },
    },
    {
      name: 'memory and a reservation',
      options: { memory: '64m', memoryReservation: '32m' },
      host: { Memory, MemoryReservation: 32 * MIB },
    },
    {
      name: 'a reservation',
      options: { memoryReservation: '32m' },
      host: { MemoryReservation: 32 * MIB },
    },
    { name: 'processors', options: { cpus: 0.5 }, host: { NanoCpus: 5e8 } },
    { name: 'a weight', options: { cpuShares: 512 }, host: { CpuShares: 512 } },
    { name: 'a set of processors', options: { cpuset: '0' }, host: { CpusetCpus: '0' } },
    { name: 'processes', options: { pids: 100 }, host: { PidsLimit: 100 } },
    { name: 'any processes', options: { pids: -1 }, host: { PidsLimit: -1 } },
    { name: 'an OOM score', options: { oomScoreAdj: 100 }, host: { OomScoreAdj: 100 } },
    {
      name: 'ulimits',
      options: { ulimits: { nofile: { soft: 10, hard: 20 }, core: 0, nproc: -1 } },
      host: {
        Ulimits: [
          { Name: 'nofile', Soft: 10, Hard: 20 },
          { Name: 'core', Soft: 0, Hard: 0 },
          { Name: 'nproc', Soft: -1, Hard: -1 },
        ],
      },
    },
  ]
}

function mounts(source: string): Case[] {
  const propagations = ['private', 'slave', 'rslave', 'shared', 'rshared'] as const
  return [
    { name: 'read-only', options: { readonly: true }, host: { ReadonlyRootfs: true } },
    { name: '/dev/shm of 1 MiB', options: { shmSize: '1m' }, host: { ShmSize: MIB } },
    { name: 'tmpfs', options: { mounts: [tmpfs('/t')] }, host: { Mounts: [dockerTmpfs('/t')] } },
    {
      name: 'tmpfs with a size and a mode',
      options: { mounts: [tmpfs('/t', { size: '1m', mode: 0o700 })] },
      host: { Mounts: [dockerTmpfs('/t', { TmpfsOptions: { SizeBytes: MIB, Mode: 0o700 } })] },
    },
    {
      name: 'tmpfs, read-only',
      options: { mounts: [tmpfs('/t', { readonly: true })] },
      host: { Mounts: [dockerTmpfs('/t', { ReadOnly: true })] },
    },
    {
      name: "tmpfs in the system's places, and one upon the other",
      options: { mounts: [tmpfs('/dev/shm'), tmpfs('/run/x/y'), tmpfs('/run'), tmpfs('/etc')] },
      host: {
        Mounts: [
          dockerTmpfs('/dev/shm'),
          dockerTmpfs('/run/x/y'),
          dockerTmpfs('/run'),
          dockerTmpfs('/etc'),
        ],
      },
    },
    { name: 'bind', options: { mounts: [`${source}:/b`] }, host: { Binds: [`${source}:/b`] } },
    {
      name: 'bind, read-only',
      options: { mounts: [`${source}:/b:ro`] },
      host: { Binds: [`${source}:/b:ro`] },
    },
    {
      name: 'bind, as an object',
      options: { mounts: [{ type: 'bind', source, target: '/b' }] },
      host: { Mounts: [{ Type: 'bind', Source: source, Target: '/b' }] },
    },
    {
      name: 'bind over /etc/hosts',
      options: { mounts: ['/etc/hostname:/etc/hosts'] },
      host: { Binds: ['/etc/hostname:/etc/hosts'] },
    },
    ...propagations.map((propagation) => ({
      name: `bind, ${propagation}`,
      options: { mounts: [`${source}:/b:${propagation}`] },
      host: { Binds: [`${source}:/b:${propagation}`] },
    })),
    {
      name: 'binds, one shared and one slave',
      options: { mounts: [`${source}:/b:shared`, `${source}:/c:slave`] },
      host: { Binds: [`${source}:/b:shared`, `${source}:/c:slave`] },
    },
  ]
}

function names(): Case[] {
  const extra = { ExtraHosts: ['db:192.0.2.1'], Dns: ['192.0.2.53'] }
  return [
    {
      name: 'a name and a domain',
      options: { hostname: 'box', domainname: 'test' },
      docker: { Hostname: 'box', Domainname: 'test' },
    },
    {
      name: 'a name with a domain',
      options: { hostname: 'box.test' },
      docker: { Hostname: 'box.test' },
    },
    { name: 'no network', options: { networks: 'none' }, host: { NetworkMode: 'none' } },
    {
      name: 'no network, other names',
      options: {
        networks: 'none',
        extraHosts: ['db:192.0.2.1'],
        dns: ['192.0.2.53'],
        dnsSearch: ['a.test'],
        dnsOptions: ['ndots:2'],
      },
      host: { NetworkMode: 'none', ...extra, DnsSearch: ['a.test'], DnsOptions: ['ndots:2'] },
    },
    { name: "the host's network", options: { networks: 'host' }, host: { NetworkMode: 'host' } },
    {
      name: "the host's network, another name",
      options: { networks: 'host', hostname: 'box' },
      host: { NetworkMode: 'host' },
      docker: { Hostname: 'box' },
    },
    {
      name: "the host's network, more names",
      options: { networks: 'host', extraHosts: ['db:192.0.2.1'], dns: ['192.0.2.53'] },
      host: { NetworkMode: 'host', ...extra },
    },
    { name: "the host's name", options: { uts: 'host' }, host: { UTSMode: 'host' } },
    {
      name: "the host's name and network",
      options: { uts: 'host', networks: 'host' },
      host: { UTSMode: 'host', NetworkMode: 'host' },
    },
  ]
}

function tmpfs(target: string, more: object = {}) {
  return { type: 'tmpfs' as const, target, ...more }
}

function dockerTmpfs(target: string, more: object = {}) {
  return { Type: 'tmpfs', Target: target, ...more }
}
