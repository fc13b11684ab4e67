import type {
  LinuxSeccomp,
  SeccompArchitecture,
  SeccompFilter,
  SeccompProfile,
  SeccompRule,
} from './types.ts'

/** What the conditions of a profile are about. */
export interface SeccompTarget {
  /** The container's bounding set: `CAP_SYS_ADMIN`, ... */
  capabilities: readonly string[]
  /** As OCI and Go name it. */
  architecture: 'amd64' | 'arm64'
  /** Of the host: major, minor. */
  kernel: readonly [number, number]
}

const NATIVE = {
  amd64: 'SCMP_ARCH_X86_64',
  arm64: 'SCMP_ARCH_AARCH64',
} as const satisfies Record<string, SeccompArchitecture>

/** By profile, then by what matters of the target: the same few come again with every run. */
const resolved = new WeakMap<SeccompProfile, Map<string, LinuxSeccomp>>()

/**
 * A profile for one container, in the runtime specification's form: rules whose conditions hold, without the conditions.
 * The result is shared between calls: it must not be changed.
 */
export function resolveSeccomp(profile: SeccompProfile, target: SeccompTarget): LinuxSeccomp {
  let results = resolved.get(profile)
  if (!results) resolved.set(profile, (results = new Map()))
  const key = JSON.stringify([[...target.capabilities].sort(), target.architecture, target.kernel])
  let result = results.get(key)
  if (!result) results.set(key, (result = resolve(profile, target)))
  return result
}

function resolve(profile: SeccompProfile, target: SeccompTarget): LinuxSeccomp {
  const { archMap, syscalls, architectures, ...rest } = profile
  const native = NATIVE[target.architecture]
  const mapped = archMap?.find((each) => each.architecture === native)
  const all = mapped ? [native, ...(mapped.subArchitectures ?? [])] : architectures
  return {
    ...rest,
    ...(all && { architectures: all }),
    syscalls: syscalls.filter((rule) => applies(rule, target)).map(bare),
  }
}

function applies(rule: SeccompProfile['syscalls'][number], target: SeccompTarget): boolean {
  const { includes = {}, excludes = {} } = rule
  const { arches, caps, minKernel } = includes
  return (
    (!arches?.length || arches.includes(target.architecture)) &&
    (caps ?? []).every((name) => target.capabilities.includes(name)) &&
    (minKernel === undefined || isAtLeast(target.kernel, minKernel)) &&
    !excluded(excludes, target)
  )
}

/** One reason is enough to leave a rule out. */
function excluded({ arches, caps, minKernel }: SeccompFilter, target: SeccompTarget): boolean {
  return (
    (arches ?? []).includes(target.architecture) ||
    (caps ?? []).some((name) => target.capabilities.includes(name)) ||
    (minKernel !== undefined && isAtLeast(target.kernel, minKernel))
  )
}

function isAtLeast([major, minor]: readonly [number, number], wanted: string): boolean {
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number)
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}

function bare(rule: SeccompProfile['syscalls'][number]): SeccompRule {
  const { names, action, errnoRet, args } = rule
  return {
    names,
    action,
    ...(errnoRet !== undefined && { errnoRet }),
    ...(args && { args }),
  }
}
