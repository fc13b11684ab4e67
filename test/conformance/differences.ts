import type { Facts } from './facts.ts'

/** A way in which our configurations differ from Docker's, and why that is meant. */
interface Difference {
  /** Facts that it is about. */
  fact: RegExp
  /** What Docker has; absent: nothing. */
  docker?: RegExp
  keelson?: RegExp
  because: string
  /** Only in these cases. Default: in any. */
  cases?: RegExp
  /** Versions of Docker before this have it. */
  before?: number
}

const NEW_CALLS =
  'cachestat clock_settime64 fchmodat2 futex_requeue futex_wait futex_wake getxattrat listmount listxattrat lsm_get_self_attr lsm_list_modules lsm_set_self_attr map_shadow_stack mseal name_to_handle_at pkey_alloc pkey_free pkey_mprotect process_vm_readv process_vm_writev removexattrat riscv_hwprobe set_mempolicy_home_node setxattrat statmount uretprobe'

export const DIFFERENCES: readonly Difference[] = [
  {
    fact: /^device \/dev\/(null|zero|full|random|urandom|tty)$/,
    keelson: /^c \d+:\d+ 666$/,
    because: 'runc makes the default devices unasked; here the plan is complete',
  },
  {
    fact: /^env HOME$/,
    keelson: /^HOME=\//,
    because: 'runc looks HOME up in /etc/passwd; here the plan is complete',
  },
  {
    fact: /^pids limit$/,
    keelson: /^4096$/,
    because: 'a fork bomb must not reach the host, so there is a limit even when none is asked for',
  },
  {
    fact: /^\/etc\/hosts (<id>|box(\.test)?) 127\.0\.1\.1$/,
    keelson: /^yes$/,
    because: 'a program that looks its own name up must not wait for name servers',
  },
  {
    fact: /^memory swap$/,
    keelson: /^-1$/,
    because: 'no limit, in so many words: a new cgroup has none anyway, one that is updated may',
  },
  {
    fact: /^rootfsPropagation$/,
    docker: /^rslave$/,
    keelson: /^slave$/,
    because:
      'the specification has no rslave; and below the root every mount has a propagation of its own',
  },
  {
    fact: /^masked \/proc\/interrupts$|^masked \/sys\/devices\/virtual\/powercap$/,
    keelson: /^masked$/,
    because: 'newer versions of Docker mask them too',
    before: 28,
  },
  {
    fact: /^(bounding|effective|permitted) CAP_(BPF|PERFMON|CHECKPOINT_RESTORE)$/,
    keelson: /^yes$/,
    because: 'capabilities of Linux 5.8 and 5.9, which this version of Docker does not know',
    before: 23,
  },
  {
    fact: new RegExp(`^syscall (${NEW_CALLS.replaceAll(' ', '|')})$`),
    keelson: /^SCMP_ACT_ALLOW$/,
    because: 'system calls that the profile of newer versions of Docker allows',
    before: 29,
  },
  {
    fact: /^syscall io_uring_(setup|enter|register)$/,
    docker: /^SCMP_ACT_ALLOW$/,
    because: 'io_uring was taken out of the profile in Docker 25',
    before: 25,
  },
  {
    fact: /^syscall socket$/,
    docker: /^SCMP_ACT_ALLOW$/,
    keelson: /SCMP_CMP_EQ 39/,
    because: 'address families were restricted in the profile of newer versions of Docker',
    before: 29,
  },
  {
    fact: /^mount \/b$/,
    docker: /^bind \S+ rbind,ro,rprivate$/,
    keelson: /^bind \S+ rbind,rprivate,rro$/,
    because: 'read-only reaches the mounts below the source, as since Docker 25',
    before: 25,
  },
  {
    fact: /^namespace network$/,
    docker: /^joined$/,
    because:
      "dockerd may be in another network namespace than its runtime; here the host's is kept",
  },
  {
    fact: /^sysctl kernel\.domainname$/,
    docker: /^test$/,
    because: 'the runtime specification has a word for it since 1.1',
  },
  {
    fact: /^domainname$/,
    keelson: /^test$/,
    because: 'the runtime specification has a word for it since 1.1',
  },
  {
    fact: /^args$/,
    docker: /^\["\/sbin\/docker-init","--",/,
    keelson: /^\["true"\]$/,
    because: 'the init is the helper itself, not a program in the container',
  },
  {
    fact: /^mount \/sbin\/docker-init$/,
    docker: /^bind /,
    because: 'the init is the helper itself, not a program in the container',
  },
  {
    cases: /^the host's name$/,
    fact: /^\/etc\/hosts \S+ 127\.0\.1\.1$/,
    keelson: /^yes$/,
    because: 'a program that looks its own name up must not wait for name servers',
  },
  {
    cases: /^the host's name$/,
    fact: /^env HOSTNAME$|^\/etc\/hostname$/,
    docker: /<id>/,
    keelson: /./,
    because: "with the host's UTS namespace, HOSTNAME is what hostname(1) says",
  },
  {
    cases: /^the host's network, more names$/,
    fact: /^\/etc\/hosts /,
    docker: /^yes$/,
    because:
      "with extra hosts, Docker's container on the host's network loses the host's own; here they are added",
  },
  {
    cases: /^the host's network, more names$/,
    fact: /^\/etc\/hosts /,
    keelson: /^yes$/,
    because:
      "with extra hosts, Docker's container on the host's network loses the host's own; here they are added",
  },
]

/** What Docker has, and what we have. */
type Pair = [docker: string | undefined, keelson: string | undefined]

/** The facts of which the two say something different: `[docker, keelson]`. */
export function compare(docker: Facts, keelson: Facts): Record<string, Pair> {
  const names = new Set([...Object.keys(docker), ...Object.keys(keelson)])
  const differing = [...names].filter((name) => docker[name] !== keelson[name])
  return Object.fromEntries(
    differing.map((name): [string, Pair] => [name, [docker[name], keelson[name]]]),
  )
}

export function isMeant(
  { cases, fact, docker, keelson }: Difference,
  inCase: string,
  name: string,
  [theirs, ours]: Pair,
): boolean {
  return (
    (cases?.test(inCase) ?? true) && fact.test(name) && fits(docker, theirs) && fits(keelson, ours)
  )
}

function fits(expected: RegExp | undefined, value: string | undefined): boolean {
  return expected === undefined || value === undefined ? expected === value : expected.test(value)
}
