import { join, posix } from 'node:path'
import type { Digest } from '../../oci/digest.ts'
import type { ExecutionParameters } from '../../oci/image-config.ts'
import { planContainerCgroups, type CgroupBase } from '../../runtime/cgroup.ts'
import type { HostFacts } from '../../runtime/host.ts'
import { planCapabilities } from '../../security/capabilities.ts'
import { DEFAULT_DEVICES, planDeviceRules, type LinuxDevice } from '../../security/devices.ts'
import { planMasks } from '../../security/masks.ts'
import { resolveSeccomp } from '../../security/seccomp/resolve.ts'
import type { SeccompProfile } from '../../security/seccomp/types.ts'
import type { PreparedRootfs } from '../../snapshot/snapshotter.ts'
import { commandLine, environment } from './command.ts'
import {
  NO_SOURCES,
  planMountExtensions,
  planMounts,
  planRootfsPropagation,
  type MountSources,
} from './mounts.ts'
import { hostnameOf } from '../namespaces/hostname.ts'
import { isShare, type UserMappings } from '../namespaces/options.ts'
import type { Peers } from '../namespaces/peers.ts'
import { planNamespaces, planPeers } from '../namespaces/plan.ts'
import type { NormalizedContainer } from '../normalize/normalize.ts'
import type { BundleFile, OciBlockIo, OciConfig } from './oci-runtime.ts'
import { askedLimits, planResources } from './resources.ts'
import type { ContainerUser } from '../user/user.ts'

/** All that a container's configuration is made of. */
export interface ConfigInput {
  id: string
  options: NormalizedContainer
  image: { digest: Digest; parameters: ExecutionParameters }
  user: ContainerUser
  rootfs: PreparedRootfs
  /** Its own ids; undefined: those of this process. */
  userns: UserMappings | undefined
  /** The containers whose namespaces it joins. */
  peers: Peers
  /** Directory with the files for /etc, where it is another container's. */
  etc: string | undefined
  /** Directory of this run: the root file system's mount point and the files for /etc lie in it. */
  bundle: string
  /** The program's standard input is a pipe, or the terminal; else it reads nothing. */
  stdin: boolean
  /** Its standard streams are one terminal. */
  terminal: boolean
  /** The files for /etc, for the helper to make; absent when they are there. */
  files?: BundleFile[]
  host: Pick<HostFacts, 'architecture' | 'kernel' | 'rootless' | 'thermalThrottle'>
  /** What the host is called. */
  hostname: string
  cgroups: CgroupBase
  /** What the launcher can give: names of capabilities. */
  capabilities: readonly string[]
  /** Whether group 5 is mapped, as it always is for root. */
  ttyGroup: boolean
  /** Undefined: no filter. */
  seccomp: SeccompProfile | undefined
  /** Undefined: unconfined. */
  apparmor: string | undefined
  /** The devices asked for, or all of the host's for a privileged container. */
  devices: readonly (LinuxDevice & { access?: string | undefined })[]
  /** Limits of block devices. */
  blockIO: OciBlockIo
  /** Absent where no volume or image is mounted. */
  sources?: MountSources
  /** A cgroup for every controller, so that limits can be changed and use can be measured; else only for what is limited. */
  everyController: boolean
}

const OCI_VERSION = '1.2.0'

/**
 * The OCI runtime configuration of a container, with the `keelson` extension. Pure: the same input gives the same configuration.
 *
 * @throws `KEELSON_INVALID_OPTION`, `KEELSON_UNSUPPORTED`, `KEELSON_CGROUP_UNAVAILABLE`
 */
export function computeConfig(input: ConfigInput): OciConfig {
  const { id, options, image, user, bundle, host } = input
  const hostname = hostnameOf(id, options, input.hostname)
  const capabilities = planCapabilities(
    {
      add: options.capAdd,
      drop: options.capDrop,
      privileged: options.privileged,
      root: user.uid === 0,
    },
    input.capabilities,
  )
  const oomScoreAdj = planOomScore(input)
  const limits = planLimits(input)
  const propagation = planRootfsPropagation(options.mounts, host)
  const peers = planPeers(input.peers)
  const etc = input.etc ?? bundle
  const sources = input.sources ?? NO_SOURCES
  const extensions = planMountExtensions(options.mounts, sources)
  return {
    ociVersion: OCI_VERSION,
    process: {
      terminal: input.terminal,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args: commandLine(options, image.parameters),
      env: environment(options.env, image.parameters, {
        hostname,
        home: user.home,
        tty: input.terminal,
      }),
      // An image may have it relative, which is from the root.
      cwd: posix.resolve('/', options.workdir ?? image.parameters.WorkingDir ?? ''),
      capabilities,
      rlimits: options.ulimits.map(({ name, soft, hard }) => ({
        type: `RLIMIT_${name.toUpperCase()}`,
        soft: unlimited(soft),
        hard: unlimited(hard),
      })),
      noNewPrivileges: options.noNewPrivileges,
      ...(input.apparmor !== undefined && { apparmorProfile: input.apparmor }),
      ...(oomScoreAdj !== undefined && { oomScoreAdj }),
    },
    root: { path: join(bundle, 'rootfs'), readonly: options.readonly },
    ...(options.uts === 'private' && { hostname }),
    ...(options.uts === 'private' &&
      options.domainname !== undefined && { domainname: options.domainname }),
    mounts: planMounts({
      privileged: options.privileged,
      nested: host.rootless || input.userns !== undefined,
      ttyGroup: input.ttyGroup,
      ownNetwork: options.network !== 'host',
      ownPid: options.pid !== 'host',
      ipc: typeof options.ipc === 'object' ? 'joined' : options.ipc,
      cgroups: limits.cgroups.v2 !== undefined || limits.cgroups.v1 !== undefined,
      shmSize: options.shmSize,
      readonly: options.readonly,
      etc: {
        hosts: join(etc, 'hosts'),
        hostname: join(etc, 'hostname'),
        resolvConf: join(etc, 'resolv.conf'),
      },
      mounts: options.mounts,
      sources,
      idmapVolumes: input.userns !== undefined,
    }),
    ...(options.annotations !== undefined && { annotations: options.annotations }),
    linux: {
      ...planNamespaces(options, input.peers, input.userns),
      devices: [...(options.privileged ? [] : DEFAULT_DEVICES), ...input.devices.map(node)],
      sysctl: {
        ...networkSysctls(options, host.rootless || input.userns !== undefined),
        ...options.sysctls,
      },
      resources: limits.resources,
      ...(input.seccomp !== undefined && {
        seccomp: resolveSeccomp(input.seccomp, {
          capabilities: capabilities.bounding,
          architecture: host.architecture,
          kernel: host.kernel.version,
        }),
      }),
      ...planMasks({ privileged: options.privileged }, host.thermalThrottle),
      ...(propagation !== undefined && { rootfsPropagation: propagation }),
    },
    keelson: {
      rootfs: input.rootfs.rootfs,
      ...(input.userns !== undefined && { idmapRootfs: true }),
      ...(peers.length > 0 && { peers }),
      ...(Object.keys(extensions).length > 0 && { mounts: extensions }),
      stdio: {
        stdin: input.stdin ? 'pipe' : 'null',
        stdout: 'pipe',
        stderr: 'pipe',
      },
      init: options.init,
      cgroups: limits.cgroups,
      locks: input.rootfs.locks,
      bundle,
      files: input.files ?? [],
      remove: input.rootfs.remove,
      loopback: options.network !== 'host' && !isShare(options.network),
      ulimitClamp: true,
    },
  }
}

/**
 * Without a wish, the kernel's own measure: a container has no part in how much this process is worth to the host. Where that may not be
 * changed, it is inherited.
 */
function planOomScore({ options, host, capabilities }: ConfigInput): number | undefined {
  const free = !host.rootless && capabilities.includes('CAP_SYS_RESOURCE')
  return options.oomScoreAdj ?? (free ? 0 : undefined)
}

function planLimits(input: ConfigInput) {
  const { id, options, cgroups, devices, blockIO, everyController } = input
  const asked = askedLimits(options)
  const pids = hasController(cgroups, 'pids')
  const resources = planResources(
    options,
    {
      devices: [
        ...planDeviceRules({ privileged: options.privileged, devices }),
        ...options.deviceCgroupRules,
      ],
      blockIO,
    },
    { pids, swap: cgroups.swapAccounting },
  )
  const limits = resources.pids !== undefined ? [...asked, 'pids' as const] : asked
  return { resources, cgroups: planContainerCgroups(cgroups, id, limits, { everyController }) }
}

function hasController({ v2, v1 }: CgroupBase, name: string): boolean {
  return v2?.controllers.includes(name) === true || name in v1
}

/** Docker's: a network of one's own needs no guard over its low ports and its pings. */
function networkSysctls(options: NormalizedContainer, nested: boolean): Record<string, string> {
  if (options.network === 'host' || isShare(options.network)) return {}
  return {
    // In a user namespace the greatest group is not mapped.
    ...(!nested && { 'net.ipv4.ping_group_range': '0 2147483647' }),
    'net.ipv4.ip_unprivileged_port_start': '0',
  }
}

/** Without the access, which is the device cgroup's. */
function node(device: ConfigInput['devices'][number]): LinuxDevice {
  const { path, type, major, minor, fileMode, uid, gid } = device
  return {
    path,
    type,
    major,
    minor,
    ...(fileMode !== undefined && { fileMode }),
    ...(uid !== undefined && { uid }),
    ...(gid !== undefined && { gid }),
  }
}

/** RLIM_INFINITY is no JavaScript number; this is the greatest below it, and the helper takes all from 2^63 on for it. */
function unlimited(limit: number): number {
  return limit === -1 ? 2 ** 64 - 2048 : limit
}
