import { keelsonError } from '../../errors.ts'
import { nearest } from '../../util/nearest.ts'
import { printable } from '../../util/printable.ts'
import { ACTIONS, ARCHITECTURES, FLAGS, OPERATORS } from './types.ts'
import type { SeccompArgument, SeccompFilter, SeccompProfile } from './types.ts'

type Rule = SeccompProfile['syscalls'][number]
type Fields = Record<string, unknown>

/** The whole numbers that JavaScript holds exactly; JSON of a larger one has already lost its last digits. */
const MAX_VALUE = Number.MAX_SAFE_INTEGER
/** The kernel's MAX_ERRNO. */
const MAX_ERRNO = 4095

/**
 * A seccomp profile that a user gave: Docker's form (with `archMap`, `includes`, `excludes`, or the older one with a
 * single `name` a rule) or the runtime specification's.
 *
 * @returns undefined for a profile without a default action and without rules, which Docker takes as "no filter".
 * @throws `KEELSON_INVALID_OPTION` with the `path` of the field that is wrong.
 */
export function decodeSeccomp(value: unknown): SeccompProfile | undefined {
  const profile = object(value, 'the profile')
  const syscalls = list(profile['syscalls'], 'syscalls').map(decodeRule)
  if ((profile['defaultAction'] ?? '') === '' && syscalls.length === 0) return undefined
  if (profile['listenerPath'] !== undefined) fail('listenerPath', 'is not supported')
  const architectures = list(profile['architectures'], 'architectures').map((each, at) =>
    oneOf(ARCHITECTURES, each, `architectures[${at}]`),
  )
  const archMap = list(profile['archMap'], 'archMap').map(decodeArchitecture)
  if (architectures.length > 0 && archMap.length > 0) {
    fail('architectures', 'and archMap exclude each other')
  }
  const flags = list(profile['flags'], 'flags').map((each, at) =>
    oneOf(FLAGS, each, `flags[${at}]`),
  )
  const defaultAction = oneOf(ACTIONS, profile['defaultAction'], 'defaultAction')
  const errno = decodeErrno(profile['defaultErrnoRet'], defaultAction, 'defaultErrnoRet')
  return {
    defaultAction,
    ...(errno !== undefined && { defaultErrnoRet: errno }),
    ...(architectures.length > 0 && { architectures }),
    ...(archMap.length > 0 && { archMap }),
    ...(flags.length > 0 && { flags }),
    syscalls,
  }
}

function decodeRule(value: unknown, at: number): Rule {
  const path = `syscalls[${at}]`
  const rule = object(value, path)
  const names = strings(rule['names'], `${path}.names`)
  if (rule['name'] !== undefined && rule['name'] !== '') {
    if (names.length > 0) fail(`${path}.name`, 'and names exclude each other')
    names.push(string(rule['name'], `${path}.name`))
  }
  if (names.length === 0) fail(`${path}.names`, 'must name a system call')
  const action = oneOf(ACTIONS, rule['action'], `${path}.action`)
  const errno = decodeErrno(rule['errnoRet'], action, `${path}.errnoRet`)
  const args = list(rule['args'], `${path}.args`).map((each, n) =>
    decodeArgument(each, `${path}.args[${n}]`),
  )
  const includes = decodeFilter(rule['includes'], `${path}.includes`)
  const excludes = decodeFilter(rule['excludes'], `${path}.excludes`)
  return {
    names,
    action,
    ...(errno !== undefined && { errnoRet: errno }),
    ...(args.length > 0 && { args }),
    ...(includes && { includes }),
    ...(excludes && { excludes }),
  }
}

function decodeArgument(value: unknown, path: string): SeccompArgument {
  const argument = object(value, path)
  const op = oneOf(OPERATORS, argument['op'], `${path}.op`)
  const valueTwo = argument['valueTwo'] ?? 0
  return {
    index: integer(argument['index'], 5, `${path}.index`),
    value: integer(argument['value'], MAX_VALUE, `${path}.value`),
    ...(op === 'SCMP_CMP_MASKED_EQ' && {
      valueTwo: integer(valueTwo, MAX_VALUE, `${path}.valueTwo`),
    }),
    op,
  }
}

function decodeArchitecture(value: unknown, at: number) {
  const path = `archMap[${at}]`
  const entry = object(value, path)
  return {
    architecture: oneOf(ARCHITECTURES, entry['architecture'], `${path}.architecture`),
    subArchitectures: list(entry['subArchitectures'], `${path}.subArchitectures`).map((each, n) =>
      oneOf(ARCHITECTURES, each, `${path}.subArchitectures[${n}]`),
    ),
  }
}

function decodeFilter(value: unknown, path: string): SeccompFilter | undefined {
  if (value === undefined || value === null) return undefined
  const filter = object(value, path)
  const arches = strings(filter['arches'], `${path}.arches`)
  const caps = strings(filter['caps'], `${path}.caps`)
  const minKernel = filter['minKernel']
  if (minKernel !== undefined && !/^\d+\.\d+$/.test(string(minKernel, `${path}.minKernel`))) {
    fail(`${path}.minKernel`, 'must be written major.minor')
  }
  return {
    ...(arches.length > 0 && { arches }),
    ...(caps.length > 0 && { caps }),
    ...(typeof minKernel === 'string' && { minKernel }),
  }
}

/** Only these two actions carry a number; the specification has runtimes refuse it elsewhere. */
function decodeErrno(value: unknown, action: string, path: string): number | undefined {
  if (value === undefined || value === null) return undefined
  if (action !== 'SCMP_ACT_ERRNO' && action !== 'SCMP_ACT_TRACE') {
    fail(path, `says nothing with ${action}`)
  }
  return integer(value, MAX_ERRNO, path)
}

function oneOf<T extends string>(known: readonly T[], value: unknown, path: string): T {
  const found = known.find((each) => each === value)
  if (found !== undefined) return found
  if (value === 'SCMP_ACT_NOTIFY') fail(path, 'cannot be SCMP_ACT_NOTIFY: nobody would answer')
  const near = typeof value === 'string' ? nearest(value, known) : undefined
  const hint = near ? `Did you mean ${near}?` : `It is one of ${known.join(', ')}.`
  return fail(path, `cannot be ${shown(value)}`, hint)
}

function integer(value: unknown, most: number, path: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most) {
    return value
  }
  return fail(path, `must be a whole number from 0 to ${most}, not ${shown(value)}`)
}

function string(value: unknown, path: string): string {
  return typeof value === 'string' ? value : fail(path, `must be a string, not ${shown(value)}`)
}

function strings(value: unknown, path: string): string[] {
  return list(value, path).map((each, at) => string(each, `${path}[${at}]`))
}

/** Go writes an empty list as null. */
function list(value: unknown, path: string): unknown[] {
  if (value === undefined || value === null) return []
  return Array.isArray(value) ? value : fail(path, `must be a list, not ${shown(value)}`)
}

function object(value: unknown, path: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  return fail(path, `must be an object, not ${shown(value)}`)
}

function shown(value: unknown): string {
  return printable(JSON.stringify(value) ?? String(value), 60)
}

function fail(path: string, problem: string, hint?: string): never {
  throw keelsonError('KEELSON_INVALID_OPTION', `seccomp profile: ${path} ${problem}.`, {
    hint,
    option: 'seccomp',
    path,
  })
}
