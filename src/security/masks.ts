/** `linux.maskedPaths` and `linux.readonlyPaths` of an OCI configuration. */
export interface Masks {
  maskedPaths: string[]
  readonlyPaths: string[]
}

/** What tells about, or reaches, the host's hardware and kernel rather than the container. */
const MASKED = [
  '/proc/acpi',
  '/proc/asound',
  // Timing of keys and network packets of the whole host can be read from the counters.
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  // Energy counters leak what other programs compute (PLATYPUS).
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
]

/** Settings of the whole host. */
const READONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']

/**
 * The paths of /proc and /sys that a container may not see, or not write: Docker's. A privileged container has none.
 *
 * @param thermalThrottle the host's `/sys/devices/system/cpu/cpu<n>/thermal_throttle` directories
 *   (`HostFacts.thermalThrottle`), which leak like the interrupt counters do.
 */
export function planMasks(
  options: { privileged?: boolean | undefined },
  thermalThrottle: readonly string[] = [],
): Masks {
  if (options.privileged) return { maskedPaths: [], readonlyPaths: [] }
  return { maskedPaths: [...MASKED, ...thermalThrottle], readonlyPaths: [...READONLY] }
}
