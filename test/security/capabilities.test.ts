import { expect, test } from 'vitest'
import {
  CAPABILITIES,
  DEFAULT_CAPABILITIES,
  planCapabilities,
} from '../../src/security/capabilities.ts'

test('a container has the fourteen capabilities of Docker, in all three sets', () => {
  const planned = planCapabilities({}, CAPABILITIES)
  expect(planned.bounding).toEqual(DEFAULT_CAPABILITIES)
  expect(planned.bounding).toHaveLength(14)
  expect(planned.effective).toEqual(planned.bounding)
  expect(planned.permitted).toEqual(planned.bounding)
  expect(Object.keys(planned).sort()).toEqual(['bounding', 'effective', 'permitted'])
})

test.each([
  [{ add: ['net_admin'] }, [...DEFAULT_CAPABILITIES, 'CAP_NET_ADMIN']],
  [{ add: ['CAP_CHOWN', 'chown'] }, DEFAULT_CAPABILITIES],
  [{ drop: ['MKNOD'] }, DEFAULT_CAPABILITIES.filter((name) => name !== 'CAP_MKNOD')],
  [{ drop: ['ALL'] }, []],
  [{ drop: ['all'], add: ['kill'] }, ['CAP_KILL']],
  [{ add: ['ALL'] }, CAPABILITIES],
  [{ add: ['ALL'], drop: ['SYS_ADMIN'] }, CAPABILITIES.filter((name) => name !== 'CAP_SYS_ADMIN')],
  [{ privileged: true, drop: ['ALL'] }, CAPABILITIES],
])('%j', (options, expected) => {
  expect(planCapabilities(options, CAPABILITIES).bounding).toEqual(expected)
})

test('what the host does not have is left out of the defaults, of ALL and of privileged', () => {
  const host = CAPABILITIES.filter((name) => name !== 'CAP_MKNOD' && name !== 'CAP_BPF')
  expect(planCapabilities({}, host).bounding).not.toContain('CAP_MKNOD')
  expect(planCapabilities({ add: ['ALL'] }, host).bounding).toEqual(host)
  expect(planCapabilities({ privileged: true }, host).bounding).toEqual(host)
})

test('asking for what the host does not have is an error', () => {
  expect(() => planCapabilities({ add: ['BPF'] }, ['CAP_CHOWN'])).toThrow(
    expect.objectContaining({ code: 'KEELSON_UNSUPPORTED', capability: 'CAP_BPF' }),
  )
})

test.each(['add', 'drop'] as const)('a mistyped name in %s is an error that suggests', (field) => {
  expect(() => planCapabilities({ [field]: ['net_amdin'] }, CAPABILITIES)).toThrow(
    expect.objectContaining({
      code: 'KEELSON_INVALID_OPTION',
      hint: 'Did you mean CAP_NET_ADMIN?',
    }),
  )
  expect(() => planCapabilities({ [field]: ['x\u001b[31m'] }, CAPABILITIES)).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining('\u001b') }),
  )
})
