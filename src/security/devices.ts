/** An entry of `linux.devices` of an OCI configuration. */
export interface LinuxDevice {
  path: string
  type: 'c' | 'b'
  major: number
  minor: number
  fileMode?: number
  uid?: number
  gid?: number
}

/** An entry of `linux.resources.devices`: a rule of the device cgroup; without numbers it is about all devices. */
export interface DeviceRule {
  allow: boolean
  type?: 'a' | 'c' | 'b'
  major?: number
  minor?: number
  access: string
}

/**
 * The nodes of every container's /dev, which the runtime specification has runtimes make by themselves
 * (config-linux.md, "Default Devices"); `console` and `ptmx` come with the terminal and devpts.
 */
export const DEFAULT_DEVICES: readonly LinuxDevice[] = (
  [
    ['null', 1, 3],
    ['zero', 1, 5],
    ['full', 1, 7],
    ['random', 1, 8],
    ['urandom', 1, 9],
    ['tty', 5, 0],
  ] as const
).map(([name, major, minor]) => {
  return { path: `/dev/${name}`, type: 'c', major, minor, fileMode: 0o666, uid: 0, gid: 0 }
})

/** What Docker hands to its runtime, in its order, which counts: all are refused, then some allowed. */
const DEFAULT_RULES: readonly DeviceRule[] = [
  { allow: false, access: 'rwm' },
  rule(true, 1, 5),
  rule(true, 1, 3),
  rule(true, 1, 9),
  rule(true, 1, 8),
  rule(true, 5, 0),
  rule(true, 5, 1),
  rule(false, 10, 229),
]

/**
 * The device rules of a container: Docker's defaults, then read, write and mknod for each device that was asked for.
 * Privileged: all devices.
 */
export function planDeviceRules(options: {
  privileged?: boolean | undefined
  devices?: readonly (LinuxDevice & { access?: string | undefined })[] | undefined
}): DeviceRule[] {
  if (options.privileged) return [{ allow: true, access: 'rwm' }]
  const asked = (options.devices ?? []).map(({ type, major, minor, access = 'rwm' }) => {
    return { allow: true, type, major, minor, access }
  })
  return [...DEFAULT_RULES.map((each) => ({ ...each })), ...asked]
}

function rule(allow: boolean, major: number, minor: number): DeviceRule {
  return { allow, type: 'c', major, minor, access: 'rwm' }
}
