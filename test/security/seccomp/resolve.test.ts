import { expect, test } from 'vitest'
import { CAPABILITIES } from '../../../src/security/capabilities.ts'
import { DEFAULT_PROFILE } from '../../../src/security/seccomp/profile.ts'
import { resolveSeccomp, type SeccompTarget } from '../../../src/security/seccomp/resolve.ts'
import type { LinuxSeccomp, SeccompRule } from '../../../src/security/seccomp/types.ts'
import { readSpec } from '../../support/spec.ts'

interface Published {
  defaultAction: LinuxSeccomp['defaultAction']
  defaultErrnoRet: number
  archMap: { architecture: string; subArchitectures: string[] }[]
  syscalls: (SeccompRule & Record<'includes' | 'excludes', Conditions | undefined>)[]
}
interface Conditions {
  arches?: string[]
  caps?: string[]
  minKernel?: string
}

const published = readSpec('moby-seccomp-default.json') as Published
const RELEVANT = [
  ...new Set(
    published.syscalls.flatMap((rule) => [
      ...(rule.includes?.caps ?? []),
      ...(rule.excludes?.caps ?? []),
    ]),
  ),
]
const KERNELS = [
  [3, 10],
  [4, 7],
  [4, 8],
  [6, 12],
] as const

/** The published rules read literally, one condition after the other. */
function reference({ capabilities, architecture, kernel }: SeccompTarget) {
  const holds = (conditions: Conditions, every: boolean) => {
    const { arches = [], caps = [], minKernel } = conditions
    const [major = 0, minor = 0] = (minKernel ?? '0.0').split('.').map(Number)
    const answers = [
      ...(arches.length > 0 ? [arches.includes(architecture)] : []),
      ...caps.map((name) => capabilities.includes(name)),
      ...(minKernel ? [kernel[0] * 1000 + kernel[1] >= major * 1000 + minor] : []),
    ]
    return every ? answers.every(Boolean) : answers.some(Boolean)
  }
  const rules = published.syscalls.filter(({ includes, excludes }) => {
    return holds(includes ?? {}, true) && !holds(excludes ?? {}, false)
  })
  const native = architecture === 'amd64' ? 'SCMP_ARCH_X86_64' : 'SCMP_ARCH_AARCH64'
  const map = published.archMap.find((each) => each.architecture === native)
  return {
    defaultAction: published.defaultAction,
    defaultErrnoRet: published.defaultErrnoRet,
    architectures: [native, ...(map?.subArchitectures ?? [])],
    syscalls: rules,
  }
}

/** A mark for each call with what becomes of it: the same marks whatever the order and grouping of rules. */
function marks(rules: readonly SeccompRule[]): Buffer {
  const set = Buffer.alloc(2048)
  for (const rule of rules) for (const each of decisions(rule)) set[each] = 1
  return set
}

const numbers = new Map<string, number>()
const known = new WeakMap<string[], Map<string, number[]>>()

function decisions({ names, action, errnoRet = 0, args = [] }: SeccompRule): number[] {
  const conditions = args.map(({ index, op, value, valueTwo = 0 }) => [index, op, value, valueTwo])
  const what = JSON.stringify([action, errnoRet, conditions])
  const ofNames = known.get(names) ?? new Map<string, number[]>()
  known.set(names, ofNames)
  const found = ofNames.get(what) ?? names.map((name) => number(`${name} ${what}`))
  ofNames.set(what, found)
  return found
}

function number(text: string): number {
  const found = numbers.get(text) ?? numbers.size
  numbers.set(text, found)
  return found
}

test('resolves to the published behaviour for every set of capabilities, machine and kernel', () => {
  expect(RELEVANT).toHaveLength(14)
  for (const architecture of ['amd64', 'arm64'] as const) {
    for (const kernel of KERNELS) {
      for (let bits = 0; bits < 2 ** RELEVANT.length; bits++) {
        const capabilities = RELEVANT.filter((_, at) => bits & (1 << at))
        const target = { capabilities, architecture, kernel }
        const { syscalls = [], ...rest } = resolveSeccomp({ ...DEFAULT_PROFILE }, target)
        const { syscalls: expected, ...restExpected } = reference(target)
        if (!marks(syscalls).equals(marks(expected))) {
          expect(lines(syscalls), JSON.stringify(target)).toEqual(lines(expected))
        }
        if (bits === 0) expect(rest).toEqual(restExpected)
      }
    }
  }
  expect(numbers.size).toBeLessThan(2048)
}, 60_000)

function lines(rules: readonly SeccompRule[]): string[] {
  const marked = marks(rules)
  return [...numbers].filter(([, at]) => marked[at]).map(([text]) => text)
}

test('every capability that the profile speaks of exists', () => {
  expect(RELEVANT.filter((name) => !(CAPABILITIES as readonly string[]).includes(name))).toEqual([])
})

test('the same container gets the very same result again', () => {
  const target = {
    capabilities: ['CAP_CHOWN', 'CAP_KILL'],
    architecture: 'amd64',
    kernel: [6, 1],
  } as const
  const first = resolveSeccomp(DEFAULT_PROFILE, target)
  const reordered = { ...target, capabilities: ['CAP_KILL', 'CAP_CHOWN'] }
  expect(resolveSeccomp(DEFAULT_PROFILE, reordered)).toBe(first)
  expect(resolveSeccomp(DEFAULT_PROFILE, { ...target, kernel: [6, 2] })).not.toBe(first)
})

test('rules carry no conditions any more', () => {
  const { syscalls } = resolveSeccomp(DEFAULT_PROFILE, {
    capabilities: [],
    architecture: 'arm64',
    kernel: [6, 12],
  })
  const fields = new Set(syscalls?.flatMap((rule) => Object.keys(rule)))
  expect([...fields].sort()).toEqual(['action', 'args', 'errnoRet', 'names'])
})
