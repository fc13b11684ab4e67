import { expect, test } from 'vitest'
import { appArmorProfile } from '../../src/security/apparmor-profile.ts'

/** Paths that the profile's `deny` rules for writing match, read as apparmor.d(5) explains globs. */
function refusesWrite(path: string): boolean {
  return [...appArmorProfile().matchAll(/^ {2}deny (\/\S+) (\w+),$/gm)].some(
    ([, glob = '', access = '']) => access.includes('w') && toRegExp(glob).test(path),
  )
}

function peers(profile: string): (string | undefined)[] {
  return [...profile.matchAll(/signal .*peer=(\S+),/g)].map(([, peer]) => peer)
}

function toRegExp(glob: string): RegExp {
  const source = glob.replace(/\*\*|\*|\./g, (sign) => {
    return sign === '**' ? '.*' : sign === '*' ? '[^/]*' : '\\.'
  })
  return new RegExp(`^${source}$`)
}

test.each([
  '/proc/sysrq-trigger',
  '/proc/kcore',
  '/proc/version',
  '/proc/scsi/scsi',
  '/proc/sysvipc/shm',
  '/proc/self',
  '/proc/acpi/wakeup',
  '/proc/irq/1/smp_affinity',
  '/proc/sys/net/ipv4/ip_forward',
  '/proc/sys/vm/drop_caches',
  '/proc/sys/kernel/core_pattern',
  '/proc/sys/kernel/sysrq',
  '/proc/sys/kernel/modprobe',
  '/proc/sys/kernel/hostname',
  '/sys/kernel/uevent_helper',
  '/sys/firmware/efi/vars',
  '/sys/fs/bpf/x',
  '/sys/fs/fuse/connections/1/abort',
  '/sys/devices/virtual/powercap/x',
  '/sys/module/x/parameters/y',
])('%s cannot be written', (path) => {
  expect(refusesWrite(path)).toBe(true)
})

test.each([
  '/proc/1/oom_score_adj',
  '/proc/4711/task/4711/comm',
  '/proc/sys/kernel/shmmax',
  '/proc/sys/kernel/shm_rmid_forced',
  '/sys/fs/cgroup/x/memory.max',
  '/etc/passwd',
  '/sysroot/x',
])('%s is left to the other walls', (path) => {
  expect(refusesWrite(path)).toBe(false)
})

test('mounts and the kernel crypto API are refused', () => {
  expect(appArmorProfile()).toMatch(/^ {2}deny mount,$/m)
  expect(appArmorProfile()).toMatch(/^ {2}deny network alg,$/m)
})

test('only the engine and the container itself may signal its processes', () => {
  expect(peers(appArmorProfile())).toEqual(['"unconfined"', 'keelson-default'])
  expect(peers(appArmorProfile({ owner: 'snap.node' }))).toContain('"snap.node"')
})

test('the rules keep their meaning under a newer AppArmor', () => {
  expect(appArmorProfile({ abi3: true })).toMatch(/^abi <abi\/3\.0>,\n/)
})
