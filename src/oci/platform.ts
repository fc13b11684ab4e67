import { keelsonError } from '../errors.ts'
import { printable } from '../util/printable.ts'

/** What an image runs on, in Go's words as OCI uses them: `linux`, `amd64`, `arm64` with variant `v8`. */
export interface Platform {
  os: string
  architecture: string
  /** Of the processor: `v7` for arm, `v8` for arm64, `v2` to `v4` for amd64. */
  variant?: string
  'os.version'?: string
  'os.features'?: string[]
}

const WORD = /^[A-Za-z0-9_.-]+$/

/**
 * Reads `os/architecture[/variant]`, or an architecture alone for Linux, and brings other spellings to the usual one
 * (`x86_64`, `aarch64`, `armhf`).
 *
 * @throws `KEELSON_INVALID_PLATFORM`
 *
 * @example
 * ```ts
 * import { parsePlatform } from './platform.ts'
 *
 * parsePlatform('linux/aarch64') // { os: 'linux', architecture: 'arm64', variant: 'v8' }
 * ```
 */
export function parsePlatform(text: string): Platform {
  const parts = text.split('/')
  if (parts.length > 3 || !parts.every((part) => WORD.test(part))) {
    throw keelsonError('KEELSON_INVALID_PLATFORM', `"${printable(text)}" is not a platform.`, {
      hint: 'Write os/architecture[/variant], for example linux/amd64 or linux/arm64/v8.',
    })
  }
  const [first = '', second, variant] = parts
  const os = second === undefined ? 'linux' : first
  const architecture = second ?? first
  if (second === undefined && ['linux', 'windows', 'darwin', 'freebsd'].includes(first)) {
    throw keelsonError('KEELSON_INVALID_PLATFORM', `"${first}" names no architecture.`, {
      hint: `Write for example ${first}/amd64.`,
    })
  }
  const platform = normalizePlatform({
    os,
    architecture,
    ...(variant !== undefined && { variant }),
  })
  if (second === undefined && !ARCHITECTURES.has(platform.architecture)) {
    throw keelsonError('KEELSON_INVALID_PLATFORM', `"${printable(text)}" is not a platform.`, {
      hint: `There is no such architecture; write for example amd64, arm64 or linux/${printable(first)}.`,
    })
  }
  return platform
}

/** Go's, for Linux: a word alone is one of these, or a mistake. */
const ARCHITECTURES = new Set(
  '386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm'.split(
    ' ',
  ),
)

/** `linux/arm64/v8`. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`
}

/** The platform of this process. */
export function hostPlatform(): Platform {
  const architecture = NODE_ARCHITECTURES[process.arch] ?? process.arch
  return normalizePlatform({ os: process.platform, architecture })
}

const NODE_ARCHITECTURES: Partial<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: 'ppc64le',
  loong64: 'loong64',
}

/** One spelling for each platform, so that two can be compared. */
export function normalizePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase()
  const [architecture, variant] = normalizeArchitecture(
    platform.architecture.toLowerCase(),
    platform.variant?.toLowerCase() ?? '',
  )
  const { variant: _, ...rest } = platform
  return {
    ...rest,
    os: os === 'macos' ? 'darwin' : os,
    architecture,
    ...(variant === '' ? {} : { variant }),
  }
}

function normalizeArchitecture(architecture: string, variant: string): [string, string] {
  switch (architecture) {
    case 'i386':
    case 'i686':
    case '386':
      return ['386', '']
    case 'x86_64':
    case 'x86-64':
    case 'amd64':
      return ['amd64', variant === 'v1' || variant === '1' ? '' : withV(variant)]
    case 'aarch64':
    case 'arm64':
      return ['arm64', variant === '' ? 'v8' : withV(variant).replace(/\.0$/, '')]
    case 'armhf':
      return ['arm', 'v7']
    case 'armel':
      return ['arm', 'v6']
    case 'arm':
      return ['arm', variant === '' ? 'v7' : withV(variant)]
    default:
      return [architecture, variant]
  }
}

function withV(variant: string): string {
  return /^[0-9]/.test(variant) ? `v${variant}` : variant
}

/** Whether a program for `candidate` runs where `wanted` is asked for. */
export function platformRuns(candidate: Platform, wanted: Platform): boolean {
  return platformRank(candidate, wanted) < Infinity
}

/**
 * How well `candidate` suits where `wanted` is asked for: 0 is the same platform, then come the nearest older variants that its processor
 * can run, then its 32-bit sibling (the order of containerd). Infinity: not at all.
 */
export function platformRank(candidate: Platform, wanted: Platform): number {
  const order = runnable(normalizePlatform(wanted))
  const version = wanted['os.version']
  if (version !== undefined && candidate['os.version'] !== version) return Infinity
  // A feature that the image needs and the host was not said to have.
  const has = new Set(wanted['os.features'])
  if (candidate['os.features']?.some((feature) => !has.has(feature)) === true) return Infinity
  const rank = order.indexOf(formatPlatform(normalizePlatform(candidate)))
  return rank < 0 ? Infinity : rank
}

/** Every platform whose programs run on `wanted`, the best first. */
function runnable(wanted: Platform): string[] {
  const { os, architecture, variant = '' } = wanted
  const at = (arch: string, variants: string[]) =>
    variants.map((each) =>
      formatPlatform({ os, architecture: arch, ...(each && { variant: each }) }),
    )
  switch (architecture) {
    case 'amd64':
      return [...at('amd64', countDown(variant, 2, '')), ...at('386', [''])]
    case 'arm':
      return at('arm', countDown(variant, 5))
    case 'arm64':
      return [...at('arm64', olderArm64(variant)), ...at('arm', countDown('v8', 5))]
    default:
      return at(architecture, [variant])
  }
}

/** `v4` to `v2`: v4, v3, v2, and then `last`. */
function countDown(variant: string, lowest: number, last?: string): string[] {
  const version = /^v(\d{1,2})$/.exec(variant)?.[1]
  const order: string[] = version === undefined && variant !== '' ? [variant] : []
  if (version !== undefined) {
    for (let each = Number(version); each >= lowest; each--) order.push(`v${each}`)
    if (Number(version) < lowest) order.push(variant)
  }
  if (last !== undefined) order.push(last)
  return order
}

/** Armv9.n contains Armv8.(n+5), so after v9.0 comes v8.5. */
function olderArm64(variant: string): string[] {
  const [, major, minor = '0'] = /^v([89])(?:\.(\d))?$/.exec(variant) ?? []
  if (major === undefined) return [variant]
  const order: string[] = []
  let eight = Number(minor)
  if (major === '9') {
    for (let each = Number(minor); each >= 0; each--) order.push(armVersion(9, each))
    eight = Math.min(Number(minor) + 5, 9)
  }
  for (let each = eight; each >= 0; each--) order.push(armVersion(8, each))
  return order
}

function armVersion(major: number, minor: number): string {
  return minor === 0 ? `v${major}` : `v${major}.${minor}`
}
