import type { CgroupBase } from './runtime/cgroup.ts'
import type { CgroupMode } from './runtime/cgroup-hierarchy.ts'
import type { HostFacts } from './runtime/host.ts'
import type { ProbeResult } from './runtime/protocol.ts'

/** What an engine is and what it runs on. */
export interface EngineInfo {
  root: string
  runRoot: string
  /** Release of the kernel: `6.12.48+deb13-amd64`. */
  kernel: string
  /** As OCI names it. */
  architecture: 'amd64' | 'arm64'
  /** Everything happens in a user namespace. */
  rootless: boolean
  /** How layers are kept. */
  snapshotter: 'overlay' | 'copy'
  cgroups: {
    mode: CgroupMode
    /** Controllers that containers can be limited with. */
    controllers: string[]
    /** Swap can be limited apart from memory. */
    swap: boolean
  }
  seccomp: boolean
  apparmor: boolean
  systemd: boolean
  /** What containers can be given at the most. */
  capabilities: string[]
}

/** Pure. */
export function engineInfo(facts: {
  host: HostFacts
  probe: ProbeResult
  cgroups: CgroupBase
  snapshotter: EngineInfo['snapshotter']
  root: string
  runRoot: string
}): EngineInfo {
  const { host, probe, cgroups, snapshotter, root, runRoot } = facts
  return {
    root,
    runRoot,
    kernel: host.kernel.release,
    architecture: host.architecture,
    rootless: host.rootless,
    snapshotter,
    cgroups: {
      mode: host.cgroups.mode,
      controllers: [...new Set([...(cgroups.v2?.controllers ?? []), ...Object.keys(cgroups.v1)])],
      swap: cgroups.swapAccounting,
    },
    seccomp: host.seccomp,
    apparmor: host.apparmor,
    systemd: host.systemd,
    capabilities: [...probe.capabilities],
  }
}
