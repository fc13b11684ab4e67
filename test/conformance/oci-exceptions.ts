import { existsSync, readFileSync } from 'node:fs'
import { CAPABILITIES } from '../../src/security/capabilities.ts'

/** A check of a validation program that fails, and why that is right or cannot be helped. */
interface Exception {
  program: RegExp
  failure: RegExp
  because: string
  /** Only where this is so. Default: everywhere. */
  when?: () => boolean
  /** Who wins a race decides. */
  sometimes?: boolean
}

/** Those that hold on this machine. */
export function exceptions(): Exception[] {
  return EXCEPTIONS.filter(({ when }) => when?.() ?? true)
}

const EXCEPTIONS: Exception[] = [
  // What this runtime does not do; docs/spec.md says so too.
  {
    program: /^linux_ns_itype$/,
    failure: /^cannot run validation tests/,
    because:
      "it takes the mount namespace away, and the root is mounted in a namespace of one's own",
  },
  {
    program: /^linux_ns_path$/,
    failure: /^set mnt namespace by path$/,
    because: 'pivoting in a mount namespace of others would take the root from under them',
  },
  {
    program: /^linux_mount_label$/,
    failure: /linux\.mountLabel: mounts are not given SELinux contexts/,
    because: 'SELinux contexts of mounts are not written',
  },

  // What the specification says by now: the programs are of version 1.1 and older.
  {
    program: /^hooks_stdin$/,
    failure: /"prestart" hook/,
    because: 'it expects "created", which a container is only when `create` has ended',
  },
  {
    program: /^prestart$/,
    failure: /^Pre-start hooks MUST be called after the `start` operation/,
    because: 'they are a part of `create` since version 1.0.2',
  },
  {
    program: /^poststart_fail$/,
    failure: /MUST log a warning/,
    because: 'since version 1.3 a poststart hook that fails ends the container',
  },
  {
    program: /^process_capabilities_fail$/,
    failure: /MUST cause an error/,
    because: 'a capability that nobody knows is a warning since version 1.1',
  },

  // Mistakes of the programs.
  {
    program: /^hooks$/,
    failure: /^Hooks MUST be called in the listed order/,
    because: 'it compares with a text that its hooks do not write',
  },
  {
    program: /^start$/,
    failure: /MUST generate an error if `process` was not set/,
    because: 'it takes the error that it asks for as a failure',
  },
  {
    program: /^misc_props$/,
    failure: /unknown annotation key$/,
    because: 'its bundle lacks the program that it runs',
  },
  {
    program: /^process_rlimits$/,
    failure: /^has expected soft RLIMIT_NOFILE$/,
    because: "Go's runtime raises its own soft limit before the program looks",
  },
  {
    program: /^mounts$/,
    failure: /^mounts\[\d+\] \(\/mnt\/etc-r?shared\) found in order$/,
    because:
      'it takes the order in which mounts were made for that in which they were mounted; those that go on sharing with the host are made first',
  },
  {
    program: /^linux_cgroups_(relative_)?devices$/,
    failure: /^devices c 10:229 rwm is set correctly$/,
    because: 'devices.list has an order of its own, and the default devices',
  },
  {
    program: /^pidfile$/,
    failure: /^create with '--pid-file' option works$/,
    because: 'it kills a program that has ended by itself, which MUST be an error',
    sometimes: true,
  },
  {
    program: /^poststart$/,
    failure: /MUST be called after the user-specified process is executed/,
    because: 'the program has been executed, but need not have written anything yet',
    sometimes: true,
  },
  {
    program: /^killsig$/,
    failure: /MUST send the specified signal/,
    because: 'it sends the signal to a shell that need not have set its trap yet',
    sometimes: true,
  },

  // What this machine has not got.
  {
    program: /^linux_process_apparmor_profile$/,
    failure: /attr\/(apparmor\/)?exec/,
    because: 'the profile that it names is nowhere loaded',
  },
  {
    program: /^linux_cgroups_(relative_)?network$/,
    failure: /network\.classID|exit status 1/,
    because: 'the kernel has no net_cls',
    when: () => !isInV1('net_cls'),
  },
  {
    program: /^linux_cgroups_(relative_)?hugetlb$/,
    failure: /hugetlb|relative to the cgroups mount point/,
    because: 'it looks for hugetlb in cgroup v1 only',
    when: () => !isInV1('hugetlb'),
  },
  {
    program: /^linux_cgroups_(relative_)?blkio$/,
    failure: /No such device|exit status 1/,
    because: 'it sets limits for /dev/sda',
    when: () => !existsSync('/sys/block/sda'),
  },
  {
    program: /^linux_cgroups_(relative_)?memory$/,
    failure: /^memory kernel is set correctly$/,
    because: 'newer kernels take a limit for kernel memory and do nothing with it',
    when: () => kernel() >= 6.1,
  },
  {
    program: /^process_capabilities$/,
    failure: new RegExp(`capability (${missingCapabilities().join('|')}) set$`),
    because: 'this machine has not got all capabilities to give away',
    when: () => missingCapabilities().length > 0,
  },
]

function kernel(): number {
  const [major, minor] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.')
  return Number(major) + Number(minor) / 100
}

function missingCapabilities(): string[] {
  const status = readFileSync('/proc/self/status', 'utf8')
  const held = BigInt(`0x${/^CapBnd:\s*(\w+)/m.exec(status)?.[1] ?? '0'}`)
  return CAPABILITIES.filter((_, number) => ((held >> BigInt(number)) & 1n) === 0n)
}

/** Whether a controller is one of cgroup v1 here (cgroups(7), `/proc/pid/cgroup`). */
function isInV1(controller: string): boolean {
  const lines = readFileSync('/proc/self/cgroup', 'utf8').split('\n')
  return lines.some((line) => line.split(':')[1]?.split(',').includes(controller))
}
