/** The shapes of seccomp profiles: the runtime specification's, and Docker's, which is resolved to the former. */

export const ACTIONS = [
  'SCMP_ACT_ALLOW',
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_KILL_THREAD',
  'SCMP_ACT_LOG',
  'SCMP_ACT_TRACE',
  'SCMP_ACT_TRAP',
] as const
export type SeccompAction = (typeof ACTIONS)[number]

export const OPERATORS = [
  'SCMP_CMP_NE',
  'SCMP_CMP_LT',
  'SCMP_CMP_LE',
  'SCMP_CMP_EQ',
  'SCMP_CMP_GE',
  'SCMP_CMP_GT',
  'SCMP_CMP_MASKED_EQ',
] as const
export type SeccompOperator = (typeof OPERATORS)[number]

export const FLAGS = [
  'SECCOMP_FILTER_FLAG_TSYNC',
  'SECCOMP_FILTER_FLAG_LOG',
  'SECCOMP_FILTER_FLAG_SPEC_ALLOW',
  'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV',
] as const
export type SeccompFlag = (typeof FLAGS)[number]

export const ARCHITECTURES = [
  'SCMP_ARCH_X86',
  'SCMP_ARCH_X86_64',
  'SCMP_ARCH_X32',
  'SCMP_ARCH_ARM',
  'SCMP_ARCH_AARCH64',
  'SCMP_ARCH_MIPS',
  'SCMP_ARCH_MIPS64',
  'SCMP_ARCH_MIPS64N32',
  'SCMP_ARCH_MIPSEL',
  'SCMP_ARCH_MIPSEL64',
  'SCMP_ARCH_MIPSEL64N32',
  'SCMP_ARCH_PPC',
  'SCMP_ARCH_PPC64',
  'SCMP_ARCH_PPC64LE',
  'SCMP_ARCH_S390',
  'SCMP_ARCH_S390X',
  'SCMP_ARCH_PARISC',
  'SCMP_ARCH_PARISC64',
  'SCMP_ARCH_RISCV64',
  'SCMP_ARCH_LOONGARCH64',
] as const
export type SeccompArchitecture = (typeof ARCHITECTURES)[number]

/** A condition on an argument. With `SCMP_CMP_MASKED_EQ`, `value` is the mask and `valueTwo` what must remain. */
export interface SeccompArgument {
  index: number
  value: number
  valueTwo?: number
  op: SeccompOperator
}

/** What becomes of some system calls. */
export interface SeccompRule {
  names: string[]
  action: SeccompAction
  errnoRet?: number
  args?: SeccompArgument[]
}

/** `linux.seccomp` of an OCI configuration. */
export interface LinuxSeccomp {
  defaultAction: SeccompAction
  defaultErrnoRet?: number
  architectures?: SeccompArchitecture[]
  flags?: SeccompFlag[]
  syscalls?: SeccompRule[]
}

/** When a rule of a Docker profile counts, or when it does not. Lists hold architectures as Go names them. */
export interface SeccompFilter {
  arches?: string[]
  caps?: string[]
  /** `major.minor` */
  minKernel?: string
}

/** A seccomp profile as Docker takes it. Every OCI profile is one, too. */
export interface SeccompProfile extends Omit<LinuxSeccomp, 'syscalls'> {
  archMap?: { architecture: SeccompArchitecture; subArchitectures?: SeccompArchitecture[] | null }[]
  syscalls: (SeccompRule & { includes?: SeccompFilter; excludes?: SeccompFilter })[]
}
