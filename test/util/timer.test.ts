import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { startTimer } from '../../src/util/timer.ts'

const DAY = 24 * 60 * 60 * 1000

describe('startTimer', () => {
  beforeEach(() => vi.useFakeTimers())
  afterEach(() => vi.useRealTimers())

  test.each([0, 1, 2 ** 31 - 1, 2 ** 31, 100 * DAY, 2 ** 33])('%d ms', (milliseconds) => {
    const action = vi.fn()
    startTimer(milliseconds, action)
    vi.advanceTimersByTime(Math.max(0, milliseconds - 1))
    expect(action).toHaveBeenCalledTimes(milliseconds === 0 ? 1 : 0)
    vi.advanceTimersByTime(DAY)
    expect(action).toHaveBeenCalledTimes(1)
  })

  test('is stopped, in its later parts too', () => {
    const action = vi.fn()
    const stop = startTimer(100 * DAY, action)
    vi.advanceTimersByTime(50 * DAY)
    stop()
    stop()
    vi.advanceTimersByTime(100 * DAY)
    expect(action).not.toHaveBeenCalled()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('for ever', () => {
    const action = vi.fn()
    const stop = startTimer(Number.MAX_SAFE_INTEGER, action)
    vi.advanceTimersByTime(1000 * DAY)
    expect(action).not.toHaveBeenCalled()
    stop()
  })
})
