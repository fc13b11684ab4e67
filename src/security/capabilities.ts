import { keelsonError } from '../errors.ts'
import { nearest } from '../util/nearest.ts'
import { printable } from '../util/printable.ts'

/** Every capability of Linux 6.x by name, in the kernel's order (linux/capability.h). */
export const CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
] as const

/** What a container has when nothing is said: Docker's set, in Docker's order. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
]

export interface CapabilityOptions {
  /** Names with or without `CAP_`, in any case; `ALL` for every one that the host has. */
  add?: readonly string[] | undefined
  drop?: readonly string[] | undefined
  /** Every capability that the host has; `add` and `drop` say nothing then. */
  privileged?: boolean | undefined
  /** The program is uid 0 of the container. Default `true`. */
  root?: boolean | undefined
}

/** `process.capabilities` of an OCI configuration. */
export interface LinuxCapabilities {
  bounding: string[]
  effective: string[]
  permitted: string[]
}

/**
 * The capabilities of a container.
 *
 * Like Docker's: inheritable and ambient sets stay empty, and a user other than root has none in effect, but a setuid program or one
 * with file capabilities can get them back within the bounding set.
 * Capabilities of the default set that this host cannot give are left out.
 *
 * @param available what can be given on this host: the launcher's own (`ProbeResult.capabilities`).
 * @throws `KEELSON_INVALID_OPTION` for a name that is no capability, `KEELSON_UNSUPPORTED` when one is asked for that
 *   this host cannot give.
 */
export function planCapabilities(
  options: CapabilityOptions,
  available: readonly string[],
): LinuxCapabilities {
  const add = (options.add ?? []).map((name) => normalize(name, 'capAdd'))
  const drop = new Set((options.drop ?? []).map((name) => normalize(name, 'capDrop')))
  const given = new Set(available)
  if (!options.privileged) refuseMissing(add, given)
  const set = [...new Set(select())].filter((name) => given.has(name))
  const held = options.root === false ? [] : set
  return { bounding: set, effective: [...held], permitted: [...held] }

  function select(): readonly string[] {
    if (options.privileged) return available
    if (add.includes('ALL')) return available.filter((name) => !drop.has(name))
    if (drop.has('ALL')) return add
    return [...DEFAULT_CAPABILITIES.filter((name) => !drop.has(name)), ...add]
  }
}

const KNOWN: ReadonlySet<string> = new Set(CAPABILITIES)

function normalize(name: string, option: string): string {
  const upper = name.toUpperCase()
  if (upper === 'ALL' || upper === 'CAP_ALL') return 'ALL'
  const full = upper.startsWith('CAP_') ? upper : `CAP_${upper}`
  if (KNOWN.has(full)) return full
  const near = nearest(full, CAPABILITIES)
  throw keelsonError(
    'KEELSON_INVALID_OPTION',
    `${option}: there is no capability ${JSON.stringify(printable(name, 60))}.`,
    {
      hint: near
        ? `Did you mean ${near}?`
        : 'capabilities(7) lists the names; ALL stands for every one.',
      option,
      value: name,
    },
  )
}

function refuseMissing(names: readonly string[], given: ReadonlySet<string>): void {
  const missing = names.find((name) => name !== 'ALL' && !given.has(name))
  if (missing === undefined) return
  throw keelsonError('KEELSON_UNSUPPORTED', `This host cannot give a container ${missing}.`, {
    hint: 'The kernel does not know it, or the process that runs Keelson does not have it itself.',
    capability: missing,
  })
}
