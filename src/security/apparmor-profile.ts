/** The name under which the kernel knows the profile. */
export const APPARMOR_PROFILE = 'keelson-default'

export interface AppArmorProfileOptions {
  /** The profile that the starting program itself runs under, which may signal containers; absent: unconfined. */
  owner?: string | undefined
  /**
   * Pin the meaning of the rules to AppArmor 3.0 (`abi/3.0` is installed): from 4.0 on, `network` no longer covers
   * unix sockets and a profile without a `userns` rule forbids user namespaces.
   */
  abi3?: boolean | undefined
}

/**
 * The text of the default profile: what Docker's allows and refuses. A second wall behind read-only mounts, dropped
 * capabilities and seccomp: settings of the host's kernel stay unwritable even where such a mount got lost.
 */
export function appArmorProfile(options: AppArmorProfileOptions = {}): string {
  const senders = new Set(['unconfined', options.owner ?? 'unconfined'])
  return [
    ...(options.abi3 ? ['abi <abi/3.0>,', ''] : []),
    `profile ${APPARMOR_PROFILE} flags=(attach_disconnected,mediate_deleted) {`,
    ...[
      '# What is not refused below is left to the other walls.',
      'capability,',
      'file,',
      'network,',
      'umount,',
      '',
      '# The kernel crypto API: no container needs it, and it has had holes.',
      'deny network alg,',
      'deny mount,',
      '',
      '# The engine stops containers; containers signal and trace themselves only.',
      ...[...senders].map((sender) => `signal (receive) peer="${sender}",`),
      `signal (send, receive) peer=${APPARMOR_PROFILE},`,
      `ptrace (trace, read, tracedby, readby) peer=${APPARMOR_PROFILE},`,
      '',
      '# /proc: processes may be written to; of the settings, only those of the own IPC namespace.',
      'deny /proc/* w,',
      ...allBut('/proc/', 'sys/', '0-9').map((paths) => `deny ${paths} w,`),
      ...allBut('/proc/sys/', 'kernel/').map((paths) => `deny ${paths} w,`),
      ...allBut('/proc/sys/kernel/', 'shm').map((paths) => `deny ${paths} w,`),
      'deny /proc/sysrq-trigger rwklx,',
      'deny /proc/kcore rwklx,',
      '',
      '# /sys: nothing but the own cgroup.',
      ...allBut('/sys/', 'fs/cgroup/').map((paths) => `deny ${paths} wklx,`),
      'deny /sys/firmware/** rwklx,',
      'deny /sys/devices/virtual/powercap/** rwklx,',
      'deny /sys/kernel/security/** rwklx,',
    ].map((line) => (line === '' ? '' : `  ${line}`)),
    '}',
    '',
  ].join('\n')
}

/**
 * Patterns that together match every path below `directory` but those that start with `exception`: AppArmor has no "not",
 * only "another character here". `also` are characters of a class that are excepted as the first, too.
 */
function allBut(directory: string, exception: string, also = ''): string[] {
  return Array.from(exception, (character, at) => {
    const before = exception.slice(0, at)
    // A name that ends here is no match: `/proc/sys` itself is a directory.
    const other = character === '/' ? '[^/]' : `[^${character}${at === 0 ? also : ''}/]`
    return `${directory}${before}${other}**`
  })
}
