import { expect, test } from 'vitest'
import type { CgroupBase } from '../../src/runtime/cgroup.ts'
import { diagnose, type DiagnosisCode } from '../../src/runtime/doctor.ts'
import type { HostFacts } from '../../src/runtime/host.ts'
import type { ProbeResult } from '../../src/runtime/protocol.ts'
import { CAPABILITIES } from '../../src/security/capabilities.ts'
import { desktop, hybrid, legacy, server } from './hosts.ts'

const yes = { ok: true }
const refused = { ok: false, errno: 'EPERM' }
const probe: ProbeResult = {
  overlay: yes,
  overlayUserxattr: yes,
  overlayLowerdirPlus: yes,
  namespaces: {
    mount: yes,
    pid: yes,
    ipc: yes,
    uts: yes,
    net: yes,
    cgroup: yes,
    user: yes,
    time: yes,
  },
  openat2: yes,
  cloneIntoCgroup: yes,
  mountSetattr: yes,
  idmappedMounts: yes,
  reflink: yes,
  seccompActions: ['allow', 'errno'],
  capabilities: [...CAPABILITIES],
  uid: 0,
  pageSize: 4096,
}
const base: CgroupBase = {
  v2: { directory: '/x', controllers: ['cpuset', 'cpu', 'io', 'memory', 'pids'] },
  v1: {},
  swapAccounting: true,
  remedy: '',
}

test.each([
  ['root', server],
  ['an ordinary user', desktop],
])('nothing is wrong with a current host: %s', (_, host) => {
  const found = diagnose(host, probe, base)
  expect(found.filter(({ ok }) => !ok)).toEqual([])
  expect(found.every(({ message, remedy }) => message.endsWith('.') && remedy === undefined)).toBe(
    true,
  )
})

test('without the helper the rest is still looked at', () => {
  const codes = diagnose(desktop).map(({ code }) => code)
  expect(codes).toContain('user-namespaces')
  expect(codes).not.toContain('snapshotter')
})

const userns = (fields: Partial<HostFacts['userNamespaces']>): HostFacts => ({
  ...desktop,
  userNamespaces: { ...desktop.userNamespaces, ...fields },
})
const withOverlay = (fact: ProbeResult['overlay']) => ({
  ...probe,
  overlay: fact,
  overlayUserxattr: fact,
})

test.each<[DiagnosisCode, RegExp, HostFacts, ProbeResult?, CgroupBase?, boolean?]>([
  ['kernel', /5\.6/, { ...server, kernel: { release: '4.19.0', version: [4, 19] } }],
  ['user-namespaces', /user\.max_user_namespaces=/, userns({ max: 0 })],
  ['user-namespaces', /unprivileged_userns_clone=1/, userns({ unprivileged: false })],
  [
    'user-namespaces',
    /userns,.*apparmor_restrict_unprivileged_userns=0/,
    userns({ restrictedByApparmor: true }),
  ],
  ['subordinate-ids', /usermod --add-subuids .* ada/, { ...desktop, uidRanges: [] }],
  ['subordinate-ids', /usermod/, { ...desktop, gidRanges: [{ start: 1, size: 10 }] }],
  ['id-map-programs', /uidmap/, { ...desktop, newgidmap: undefined }],
  [
    'runtime-directory',
    /enable-linger 1000/,
    { ...desktop, directories: { home: '/h', data: '/d' } },
  ],
  [
    'namespaces',
    /CAP_SYS_ADMIN/,
    server,
    { ...probe, namespaces: { ...probe.namespaces, net: refused } },
  ],
  ['capabilities', /container or service/, server, { ...probe, capabilities: ['CAP_CHOWN'] }],
  ['snapshotter', /ext4/, server, withOverlay({ ok: false, errno: 'EINVAL' })],
  [
    'snapshotter',
    /modprobe overlay/,
    { ...server, overlay: false },
    withOverlay({ ok: false, errno: 'ENODEV' }),
  ],
  [
    'snapshotter',
    /5\.11/,
    { ...desktop, kernel: { release: '5.10.0', version: [5, 10] } },
    withOverlay(refused),
  ],
  ['cgroups', /unified_cgroup_hierarchy=1/, hybrid],
  ['cgroups', /unified_cgroup_hierarchy=1/, legacy],
  [
    'cgroups',
    /mount -t cgroup2/,
    { ...server, cgroups: { mode: 'none', v1: {}, swapAccounting: true } },
  ],
  [
    'limits',
    /Delegate=cpu cpuset io memory pids/,
    desktop,
    probe,
    { ...base, v2: { directory: '/x', controllers: ['memory', 'pids'] } },
  ],
  ['limits', /Delegate=yes/, desktop, probe, { v1: {}, swapAccounting: true, remedy: '' }],
  ['swap-limit', /swapaccount=1/, legacy],
  ['seccomp', /CONFIG_SECCOMP_FILTER/, { ...server, seccomp: false }],
  ['apparmor', /package apparmor/, server, probe, base, false],
])('%s: %s', (code, remedy, ...facts) => {
  const found = diagnose(...facts).filter((each) => each.code === code)
  expect(found).toHaveLength(1)
  expect(found[0]).toMatchObject({ ok: false, remedy: expect.stringMatching(remedy) })
  expect(found[0]?.message).toMatch(/^[A-Za-z].*\.$/s)
})

test('limits that v1 gives count', () => {
  const v1 = { memory: '/m', cpu: '/c', cpuset: '/s', pids: '/p', blkio: '/b' }
  const found = diagnose(hybrid, probe, { v1, swapAccounting: true, remedy: '' })
  expect(found.find(({ code }) => code === 'limits')).toMatchObject({ ok: true })
})

test('one capability more or less is named', () => {
  const capabilities = CAPABILITIES.filter((name) => name !== 'CAP_SYS_RESOURCE')
  const found = diagnose(server, { ...probe, capabilities })
  expect(found.find(({ code }) => code === 'capabilities')?.message).toMatch(/ulimits/)
})
