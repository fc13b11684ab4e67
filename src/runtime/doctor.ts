/** What a host lacks for all that Keelson can do, and what to do about it. Pure. */
import { cgroupRemedy, type CgroupBase } from './cgroup.ts'
import type { HostFacts } from './host.ts'
import type { ProbeResult } from './protocol.ts'

/** One finding of `engine.doctor()`. */
export interface Diagnosis {
  /** Stable name of what was looked at. */
  code: DiagnosisCode
  /** False: something does not work, or works less well, on this host. */
  ok: boolean
  /** What was found, in one sentence. */
  message: string
  /** What to do about it. Present when not `ok`. */
  remedy?: string
}

export type DiagnosisCode =
  | 'kernel'
  | 'user-namespaces'
  | 'namespaces'
  | 'subordinate-ids'
  | 'id-map-programs'
  | 'capabilities'
  | 'snapshotter'
  | 'cgroups'
  | 'limits'
  | 'swap-limit'
  | 'seccomp'
  | 'apparmor'
  | 'runtime-directory'

/** Linux 5.6: the first with openat2, without which layers cannot be applied safely. */
const OLDEST_KERNEL = [5, 6] as const
/** Limits that people ask for. */
const USUAL_CONTROLLERS = ['memory', 'cpu', 'cpuset', 'pids', 'io']

/**
 * @param probe the helper's facts; absent when the helper could not start, as where user namespaces are forbidden
 * @param base where containers' cgroups go; absent when it was not looked for
 * @param parser whether `apparmor_parser` is installed
 */
export function diagnose(
  host: HostFacts,
  probe?: ProbeResult,
  base?: CgroupBase,
  parser = true,
): Diagnosis[] {
  return [
    kernel(host),
    ...(host.rootless ? [userNamespaces(host), subordinateIds(host), idMapPrograms(host)] : []),
    ...(probe ? [namespaces(probe), snapshotter(host, probe)] : []),
    ...(probe && !host.rootless ? [capabilities(probe)] : []),
    cgroups(host),
    ...(base ? [limits(host, base)] : []),
    swapLimit(host),
    seccomp(host),
    ...(host.apparmor && !host.rootless ? [apparmor(parser)] : []),
    ...(host.rootless ? [runtimeDirectory(host)] : []),
  ]
}

function kernel({ kernel: { release, version } }: HostFacts): Diagnosis {
  const [major, minor] = version
  const ok = major > OLDEST_KERNEL[0] || (major === OLDEST_KERNEL[0] && minor >= OLDEST_KERNEL[1])
  return finding(
    'kernel',
    ok,
    `Linux ${release}`,
    `Linux ${release} is too old.`,
    'Linux 5.6 or later is needed; 5.14 or later for every feature.',
  )
}

function userNamespaces({ userNamespaces: userns }: HostFacts): Diagnosis {
  const code = 'user-namespaces'
  if (userns.max === 0) {
    return bad(
      code,
      'User namespaces are switched off (user.max_user_namespaces is 0).',
      'As root: sysctl -w user.max_user_namespaces=28633, and the same in /etc/sysctl.d to keep it.',
    )
  }
  if (!userns.unprivileged) {
    return bad(
      code,
      'Ordinary users may not make user namespaces (kernel.unprivileged_userns_clone is 0).',
      'As root: sysctl -w kernel.unprivileged_userns_clone=1, and the same in /etc/sysctl.d to keep it.',
    )
  }
  if (userns.restrictedByApparmor) {
    return bad(
      code,
      'AppArmor takes the rights away from user namespaces of programs that it has no profile for (kernel.apparmor_restrict_unprivileged_userns is 1).',
      'As root, give the helper a profile with `userns,` in /etc/apparmor.d, or: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0.',
    )
  }
  return good(code, 'Ordinary users may make user namespaces.')
}

function subordinateIds(host: HostFacts): Diagnosis {
  const ids = Math.min(...[host.uidRanges, host.gidRanges].map(total))
  const user = host.userName ?? String(host.uid)
  return finding(
    'subordinate-ids',
    ids >= 65_536,
    `${ids} subordinate ids`,
    ids === 0
      ? `${user} has no subordinate ids: in containers there is the one user only.`
      : `${user} has only ${ids} subordinate ids: images with higher ids cannot be unpacked as they are.`,
    `As root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${user}`,
  )
}

function total(ranges: HostFacts['uidRanges']): number {
  return ranges.reduce((sum, { size }) => sum + size, 0)
}

function idMapPrograms({ newuidmap, newgidmap }: HostFacts): Diagnosis {
  return finding(
    'id-map-programs',
    newuidmap !== undefined && newgidmap !== undefined,
    'newuidmap and newgidmap',
    'newuidmap and newgidmap are missing, so subordinate ids cannot be used.',
    'Install the package uidmap (Debian, Ubuntu) or shadow-utils.',
  )
}

function namespaces(probe: ProbeResult): Diagnosis {
  const needed = ['mount', 'pid', 'ipc', 'uts', 'net', 'cgroup'] as const
  const missing = needed.filter((name) => !probe.namespaces[name].ok)
  const errno = missing.map((name) => probe.namespaces[name].errno ?? '?')
  return finding(
    'namespaces',
    missing.length === 0,
    'every namespace can be made',
    `No ${missing.join(', ')} namespace can be made (${errno.join(', ')}).`,
    'In a container, start it with the rights to make namespaces (privileged, or CAP_SYS_ADMIN and a seccomp profile that allows unshare); on a host, check user.max_*_namespaces in /proc/sys/user.',
  )
}

function capabilities(probe: ProbeResult): Diagnosis {
  const needed = [
    'CAP_SYS_ADMIN',
    'CAP_CHOWN',
    'CAP_DAC_OVERRIDE',
    'CAP_FOWNER',
    'CAP_MKNOD',
    'CAP_SETUID',
    'CAP_SETGID',
    'CAP_NET_ADMIN',
    'CAP_SYS_RESOURCE',
  ]
  const missing = needed.filter((name) => !probe.capabilities.includes(name))
  const least = missing.length === 1 && missing[0] === 'CAP_SYS_RESOURCE'
  return finding(
    'capabilities',
    missing.length === 0,
    'root with every capability that is needed',
    least
      ? 'CAP_SYS_RESOURCE is missing: hard limits (ulimits) of containers cannot be raised.'
      : `Root, but without ${missing.join(', ')}.`,
    'Start the surrounding container or service with these capabilities.',
  )
}

function snapshotter(host: HostFacts, probe: ProbeResult): Diagnosis {
  const { ok, errno } = host.rootless ? probe.overlayUserxattr : probe.overlay
  const kernelTooOld = host.rootless && host.kernel.version[0] * 100 + host.kernel.version[1] < 511
  return finding(
    'snapshotter',
    ok,
    'layers are mounted with overlay',
    `Overlay cannot be mounted on the engine's root (${errno ?? 'unknown'}): every container gets a copy of its image.`,
    kernelTooOld
      ? 'Ordinary users can mount overlay from Linux 5.11 on.'
      : host.overlay
        ? 'Put the root on a file system that overlay can write to: ext4, XFS with ftype=1, btrfs, tmpfs; not on another overlay or a network file system.'
        : 'As root: modprobe overlay, and `overlay` in /etc/modules-load.d to keep it.',
  )
}

function cgroups({ cgroups: { mode, v2 } }: HostFacts): Diagnosis {
  const limited = v2 ? USUAL_CONTROLLERS.filter((name) => v2.controllers.includes(name)) : []
  switch (mode) {
    case 'v2':
      return good('cgroups', `cgroup v2 with ${limited.join(', ') || 'no controllers'}.`)
    case 'hybrid':
      return bad(
        'cgroups',
        `cgroups are hybrid: the v2 hierarchy has ${limited.join(', ') || 'none of the usual controllers'}, the others belong to v1.`,
        'Limits work for root. For limits as an ordinary user boot with systemd.unified_cgroup_hierarchy=1 (or cgroup_no_v1=all).',
      )
    case 'v1':
      return bad(
        'cgroups',
        'cgroups are version 1 only.',
        'Limits work for root. For limits as an ordinary user boot with systemd.unified_cgroup_hierarchy=1.',
      )
    case 'none':
    default:
      return bad(
        'cgroups',
        'No cgroups are mounted: nothing can be limited.',
        'As root: mount -t cgroup2 none /sys/fs/cgroup',
      )
  }
}

function limits(host: HostFacts, base: CgroupBase): Diagnosis {
  const missing = USUAL_CONTROLLERS.filter((name) => {
    return !base.v2?.controllers.includes(name) && !((name === 'io' ? 'blkio' : name) in base.v1)
  })
  return finding(
    'limits',
    missing.length === 0,
    'memory, cpu, cpuset, pids and io can be limited',
    `Not every limit can be applied: ${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} missing.`,
    cgroupRemedy(host),
  )
}

function swapLimit({ cgroups: { swapAccounting } }: HostFacts): Diagnosis {
  return finding(
    'swap-limit',
    swapAccounting,
    'swap is counted',
    'Swap cannot be limited: the kernel does not count it.',
    'Boot with swapaccount=1.',
  )
}

function seccomp(host: HostFacts): Diagnosis {
  return finding(
    'seccomp',
    host.seccomp,
    'system calls are filtered',
    'The kernel has no seccomp filters: containers may make every system call.',
    'Use a kernel with CONFIG_SECCOMP_FILTER.',
  )
}

function apparmor(parser: boolean): Diagnosis {
  return finding(
    'apparmor',
    parser,
    'AppArmor and its parser',
    'The kernel has AppArmor but apparmor_parser is missing: containers run without a profile.',
    'Install the package apparmor.',
  )
}

function runtimeDirectory({ directories, uid }: HostFacts): Diagnosis {
  return finding(
    'runtime-directory',
    directories.runtime !== undefined,
    `runtime files lie in ${directories.runtime}`,
    'There is no runtime directory for this user: state is kept on disk, and systemd cannot be asked for a cgroup.',
    `Log in through a session (ssh, machinectl shell), or as root: loginctl enable-linger ${uid}`,
  )
}

/** `fine` is a phrase; `wrong` and `remedy` are sentences. */
function finding(
  code: DiagnosisCode,
  ok: boolean,
  fine: string,
  wrong: string,
  remedy: string,
): Diagnosis {
  return ok
    ? good(code, `${fine.charAt(0).toUpperCase()}${fine.slice(1)}.`)
    : bad(code, wrong, remedy)
}

function good(code: DiagnosisCode, message: string): Diagnosis {
  return { code, ok: true, message }
}

function bad(code: DiagnosisCode, message: string, remedy: string): Diagnosis {
  return { code, ok: false, message, remedy }
}
