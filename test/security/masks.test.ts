import { expect, test } from 'vitest'
import { planMasks } from '../../src/security/masks.ts'

test('hardware and kernel of the host are hidden, its settings read-only', () => {
  const { maskedPaths, readonlyPaths } = planMasks({})
  expect(maskedPaths).toEqual(
    expect.arrayContaining(['/proc/kcore', '/proc/keys', '/proc/interrupts', '/sys/firmware']),
  )
  expect(readonlyPaths).toEqual([
    '/proc/bus',
    '/proc/fs',
    '/proc/irq',
    '/proc/sys',
    '/proc/sysrq-trigger',
  ])
})

test('thermal counters of each processor are hidden, too', () => {
  const counters = '/sys/devices/system/cpu/cpu0/thermal_throttle'
  expect(planMasks({}, [counters]).maskedPaths.at(-1)).toBe(counters)
})

test('a privileged container sees all', () => {
  expect(planMasks({ privileged: true }, ['/sys/x'])).toEqual({
    maskedPaths: [],
    readonlyPaths: [],
  })
})
