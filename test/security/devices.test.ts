import { expect, test } from 'vitest'
import { DEFAULT_DEVICES, planDeviceRules } from '../../src/security/devices.ts'
import { hostDevices } from '../../src/security/host-devices.ts'

test('everything is refused but the default devices and terminals', () => {
  const [first, ...rest] = planDeviceRules({})
  expect(first).toEqual({ allow: false, access: 'rwm' })
  const allowed = rest.filter((rule) => rule.allow).map((rule) => `${rule.major}:${rule.minor}`)
  expect(allowed.sort()).toEqual(['1:3', '1:5', '1:8', '1:9', '5:0', '5:1'])
  expect(rest.at(-1)).toMatchObject({ allow: false, major: 10, minor: 229 })
})

test('a device that was asked for comes after, with its access', () => {
  const fuse = { path: '/dev/fuse', type: 'c', major: 10, minor: 229, access: 'rw' } as const
  expect(planDeviceRules({ devices: [fuse] }).at(-1)).toEqual({
    allow: true,
    type: 'c',
    major: 10,
    minor: 229,
    access: 'rw',
  })
})

test('a privileged container may use every device', () => {
  expect(planDeviceRules({ privileged: true })).toEqual([{ allow: true, access: 'rwm' }])
})

test('the devices of this host are described as the kernel numbers them', async () => {
  const devices = await hostDevices()
  for (const { path, major, minor } of DEFAULT_DEVICES) {
    expect(devices).toContainEqual(expect.objectContaining({ path, type: 'c', major, minor }))
  }
  expect(devices.filter(({ path }) => /^\/dev\/(pts|shm|console)/.test(path))).toEqual([])
})
