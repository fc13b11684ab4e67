/** Where the cgroups of containers go, and which limits they can have there. Pure. */
import { join } from 'node:path'
import { keelsonError } from '../errors.ts'
import type { CgroupFacts, HostFacts } from './host.ts'

/** What can be limited. */
export type CgroupLimit = 'memory' | 'swap' | 'cpu' | 'cpuset' | 'pids' | 'io' | 'hugetlb'

/** Where processes stand that are no containers: a cgroup that hands controllers on must not hold any. */
export const LEAF = 'keelson-host'

/** The directories below which each container gets one, ready to be used. */
export interface CgroupBase {
  v2?: { directory: string; controllers: readonly string[] }
  /** By controller. */
  v1: Readonly<Record<string, string>>
  swapAccounting: boolean
  /** What a user can do when a limit cannot be applied here. */
  remedy: string
}

/** A way to come by a base; they are tried in order. */
export type CgroupStrategy =
  /** A delegated scope of systemd, asked for over its bus. */
  | { way: 'scope'; manager: 'system' | 'user' }
  /** `keelson` below the root of each hierarchy. */
  | { way: 'root' }
  /** The own cgroup, which was delegated to this process; its processes have to move to a leaf first. */
  | { way: 'own' }
  /** None: containers stay in the launcher's cgroup. */
  | { way: 'none' }

/**
 * In order of preference. Where systemd runs, the tree belongs to it, and a delegated scope is the one place where
 * others may make cgroups (systemd's "Control Group APIs and Delegation"); it also vanishes by itself.
 */
export function cgroupStrategies(host: HostFacts): CgroupStrategy[] {
  const { v2, v1 } = host.cgroups
  const ways: CgroupStrategy[] = []
  if (v2 && host.cgroups.mode === 'v2' && host.systemd) {
    if (!host.rootless) ways.push({ way: 'scope', manager: 'system' })
    else if (host.directories.runtime !== undefined) ways.push({ way: 'scope', manager: 'user' })
  }
  const places = [...(v2 ? [v2] : []), ...Object.values(v1)]
  const realRoot = !v2 || v2.rootIsReal
  if (!host.rootless && realRoot && places.some((place) => place.rootWritable)) {
    ways.push({ way: 'root' })
  }
  if (places.some((place) => place.ownWritable)) ways.push({ way: 'own' })
  return [...ways, { way: 'none' }]
}

/** The directory `keelson` of each hierarchy, below its root or below the own cgroup. */
export function cgroupDirectories(
  facts: CgroupFacts,
  way: 'root' | 'own',
): { v2?: { parent: string; directory: string }; v1: Record<string, string> } {
  const parentOf = (place: CgroupFacts['v1'][string]) => {
    if (way === 'root') return place.rootWritable ? place.root : undefined
    return place.ownWritable ? withoutLeaf(place.own) : undefined
  }
  const v1 = Object.entries(facts.v1).flatMap(([controller, place]) => {
    const parent = parentOf(place)
    return parent === undefined ? [] : [[controller, join(parent, 'keelson')] as const]
  })
  const parent = facts.v2 && parentOf(facts.v2)
  return {
    ...(parent !== undefined && { v2: { parent, directory: join(parent, 'keelson') } }),
    v1: Object.fromEntries(v1),
  }
}

/** An earlier engine of this process may have moved it to the leaf already. */
function withoutLeaf(directory: string | undefined): string | undefined {
  const leaf = `/${LEAF}`
  return directory?.endsWith(leaf) ? directory.slice(0, -leaf.length) : directory
}

/** What each limit needs of v2, and of v1 where its name differs. */
const CONTROLLERS: Record<CgroupLimit, { v2: string; v1: string }> = {
  memory: { v2: 'memory', v1: 'memory' },
  swap: { v2: 'memory', v1: 'memory' },
  cpu: { v2: 'cpu', v1: 'cpu' },
  cpuset: { v2: 'cpuset', v1: 'cpuset' },
  pids: { v2: 'pids', v1: 'pids' },
  io: { v2: 'io', v1: 'blkio' },
  hugetlb: { v2: 'hugetlb', v1: 'hugetlb' },
}

/** `keelson.cgroups` of a container's configuration: absolute directories to make and join. */
export interface ContainerCgroups {
  v2?: string
  v1?: Record<string, string>
}

/** Of v1: what can be limited later, or measured. */
const USEFUL = ['memory', 'cpu', 'cpuacct', 'cpuset', 'pids', 'blkio']

/**
 * The cgroup directories of one container. On v1 and hybrid hosts only the controllers that its limits need, and
 * `devices`, get one (each directory more costs time when it is removed), unless `everyController`.
 *
 * @throws `KEELSON_CGROUP_UNAVAILABLE` with the `limit` that cannot be applied; the hint is the remedy
 */
export function planContainerCgroups(
  base: CgroupBase,
  id: string,
  limits: readonly CgroupLimit[],
  { everyController = false }: { everyController?: boolean } = {},
): ContainerCgroups {
  const wanted = new Set<string>(['devices', ...(everyController ? USEFUL : [])])
  for (const limit of limits) {
    const controller = CONTROLLERS[limit]
    if (base.v2?.controllers.includes(controller.v2)) continue
    if (controller.v1 in base.v1) wanted.add(controller.v1)
    else throw unavailable(limit, `no ${controller.v2} controller is at hand`, base.remedy)
  }
  if (limits.includes('swap') && !base.swapAccounting) {
    const remedy = 'Boot the kernel with swapaccount=1.'
    throw unavailable('swap', 'the kernel does not count swap', remedy)
  }
  // Without v2's cgroup.kill, freezing is how all of a container's processes are caught.
  if (!base.v2) wanted.add('freezer')
  const v1 = Object.entries(base.v1).filter(([controller]) => wanted.has(controller))
  return {
    ...(base.v2 && { v2: join(base.v2.directory, id) }),
    ...(v1.length > 0 && {
      v1: Object.fromEntries(v1.map(([controller, path]) => [controller, join(path, id)])),
    }),
  }
}

/** What would give this user the controllers that are missing. */
export function cgroupRemedy(host: HostFacts): string {
  if (host.cgroups.mode === 'none') return 'Mount cgroup2 at /sys/fs/cgroup.'
  if (!host.rootless)
    return 'Make /sys/fs/cgroup writable for this process, with the controller enabled.'
  if (host.cgroups.mode !== 'v2') {
    return 'Ordinary users can limit with cgroup v2 only: boot with systemd.unified_cgroup_hierarchy=1, or run as root.'
  }
  if (!host.systemd) {
    return 'Have root hand a cgroup over to this user (chown its directory, cgroup.procs and cgroup.subtree_control) and start the program in it.'
  }
  return (
    'Start the program with `systemd-run --user --scope -p Delegate=yes`. For controllers that users are not given ' +
    'by default, put `[Service]` and `Delegate=cpu cpuset io memory pids` into ' +
    '/etc/systemd/system/user@.service.d/delegate.conf, run `systemctl daemon-reload`, and log in again.'
  )
}

function unavailable(limit: CgroupLimit, why: string, hint: string) {
  return keelsonError(
    'KEELSON_CGROUP_UNAVAILABLE',
    `The ${limit} limit cannot be applied: ${why}.`,
    {
      hint,
      limit,
    },
  )
}
