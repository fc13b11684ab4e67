import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadSeccomp } from '../../../src/security/seccomp/load.ts'
import { DEFAULT_PROFILE } from '../../../src/security/seccomp/profile.ts'
import { resolveSeccomp } from '../../../src/security/seccomp/resolve.ts'
import type { LinuxSeccomp } from '../../../src/security/seccomp/types.ts'
import { readSpec } from '../../support/spec.ts'

let directory: string
beforeAll(async () => void (directory = await mkdtemp(join(tmpdir(), 'keelson-seccomp-'))))
afterAll(() => rm(directory, { recursive: true }))

async function file(content: string): Promise<string> {
  const path = join(directory, `${Math.random()}.json`)
  await writeFile(path, content)
  return path
}

test('without a word there is the default profile; privileged or unconfined, none', async () => {
  expect(await loadSeccomp(undefined)).toBe(DEFAULT_PROFILE)
  expect(await loadSeccomp('default', { privileged: true })).toBe(DEFAULT_PROFILE)
  expect(await loadSeccomp(undefined, { privileged: true })).toBeUndefined()
  expect(await loadSeccomp('unconfined')).toBeUndefined()
})

test('a file of Docker is a profile, the same one when read again', async () => {
  const path = await file(JSON.stringify(readSpec('moby-seccomp-default.json')))
  const profile = await loadSeccomp(path)
  expect(profile?.syscalls.length).toBeGreaterThan(30)
  expect(await loadSeccomp(path)).toBe(profile)
})

test('an OCI object is its own resolution', async () => {
  const given: LinuxSeccomp = {
    defaultAction: 'SCMP_ACT_ALLOW',
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
    flags: ['SECCOMP_FILTER_FLAG_LOG'],
    syscalls: [
      {
        names: ['clone'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: 1,
        args: [{ index: 0, value: 0x10000000, valueTwo: 0x10000000, op: 'SCMP_CMP_MASKED_EQ' }],
      },
    ],
  }
  const profile = await loadSeccomp(given)
  if (!profile) throw new Error('no profile')
  const target = { capabilities: [], architecture: 'amd64', kernel: [6, 1] } as const
  expect(resolveSeccomp(profile, target)).toEqual(given)
})

test('rules of the older form with a single name are read', async () => {
  const profile = await loadSeccomp(
    await file(
      '{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW","args":null}]}',
    ),
  )
  expect(profile?.syscalls).toEqual([{ names: ['read'], action: 'SCMP_ACT_ALLOW' }])
})

test('an empty profile is no filter', async () => {
  expect(await loadSeccomp(await file('{}'))).toBeUndefined()
})

const rule = (fields: object) => ({
  defaultAction: 'SCMP_ACT_ERRNO',
  syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW', ...fields }],
})
const argument = (fields: object) =>
  rule({ args: [{ index: 0, op: 'SCMP_CMP_EQ', value: 0, ...fields }] })

test.each<[string, unknown, string | undefined]>([
  ['the profile', [], undefined],
  ['defaultAction', { syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW' }] }, undefined],
  ['defaultAction', { defaultAction: 'SCMP_ACT_ALOW' }, 'Did you mean SCMP_ACT_ALLOW?'],
  ['defaultAction', { defaultAction: 'SCMP_ACT_NOTIFY' }, undefined],
  ['defaultErrnoRet', { defaultAction: 'SCMP_ACT_ALLOW', defaultErrnoRet: 1 }, undefined],
  ['defaultErrnoRet', { defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 4096 }, undefined],
  ['architectures[0]', { defaultAction: 'SCMP_ACT_ALLOW', architectures: ['x86_64'] }, undefined],
  ['flags[0]', { defaultAction: 'SCMP_ACT_ALLOW', flags: ['LOG'] }, undefined],
  ['listenerPath', { defaultAction: 'SCMP_ACT_ALLOW', listenerPath: '/x' }, undefined],
  [
    'architectures',
    {
      defaultAction: 'SCMP_ACT_ALLOW',
      architectures: ['SCMP_ARCH_X86'],
      archMap: [{ architecture: 'SCMP_ARCH_X86_64' }],
    },
    undefined,
  ],
  ['syscalls', { defaultAction: 'SCMP_ACT_ALLOW', syscalls: {} }, undefined],
  ['syscalls[0]', { defaultAction: 'SCMP_ACT_ALLOW', syscalls: ['read'] }, undefined],
  ['syscalls[0].names', rule({ names: [] }), undefined],
  ['syscalls[0].name', rule({ name: 'write' }), undefined],
  ['syscalls[0].names[0]', rule({ names: [1] }), undefined],
  ['syscalls[0].action', rule({ action: 'allow' }), undefined],
  ['syscalls[0].includes.minKernel', rule({ includes: { minKernel: '4' } }), undefined],
  ['syscalls[0].args[0].index', argument({ index: 6 }), undefined],
  ['syscalls[0].args[0].op', argument({ op: 'SCMP_CMP_EG' }), 'Did you mean SCMP_CMP_EQ?'],
  ['syscalls[0].args[0].value', argument({ value: 2 ** 64 }), undefined],
  ['syscalls[0].args[0].value', argument({ value: -1 }), undefined],
])('%s is refused in %j', async (path, profile, hint) => {
  const error = expect.objectContaining({
    code: 'KEELSON_INVALID_OPTION',
    path,
    ...(hint && { hint }),
  })
  await expect(loadSeccomp(await file(JSON.stringify(profile)))).rejects.toEqual(error)
})

test('a file that is missing, or is no JSON, is an error that names it', async () => {
  const missing = join(directory, 'missing.json')
  const error = { code: 'KEELSON_INVALID_OPTION', option: 'seccomp', path: missing }
  await expect(loadSeccomp(missing)).rejects.toMatchObject(error)
  const text = await file('seccomp')
  await expect(loadSeccomp(text)).rejects.toMatchObject({ ...error, path: text })
})
