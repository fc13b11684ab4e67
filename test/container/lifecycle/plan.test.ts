import { describe, expect, it } from 'vitest'
import { normalizeCreateOptions } from '../../../src/container/normalize/create.ts'
import type {
  CreateOptions,
  HealthcheckOptions,
} from '../../../src/container/options/create-options.ts'
import { planHealth, planRestart, planStop } from '../../../src/container/lifecycle/plan.ts'
import { startsAgain } from '../../../src/container/lifecycle/repair.ts'
import type { ExecutionParameters } from '../../../src/oci/image-config.ts'
import type { OciConfig } from '../../../src/container/config/oci-runtime.ts'

const normalize = (options: Partial<CreateOptions>) =>
  normalizeCreateOptions({ image: 'x', ...options })
const process = { args: ['true'], terminal: true } as unknown as OciConfig['process']
const health = (healthcheck: HealthcheckOptions | 'none' | undefined, image: ExecutionParameters) =>
  planHealth(normalize(healthcheck === undefined ? {} : { healthcheck }), image, { process })

const args = (...words: string[]) => ({ process: { ...process, terminal: false, args: words } })

describe('restarts', () => {
  it.each([
    ['no', { when: 'never' }],
    ['on-failure', { when: 'failure' }],
    ['on-failure:3', { when: 'failure', maxRetries: 3 }],
    ['on-failure:0', { when: 'failure' }],
    ['always', { when: 'always' }],
    ['unless-stopped', { when: 'always' }],
    [
      { policy: 'on-failure', maxRetries: 2 },
      { when: 'failure', maxRetries: 2 },
    ],
  ] as const)('%j', (restart, expected) => {
    expect(planRestart(normalize({ restart }).restart)).toEqual({
      ...expected,
      delay: 100,
      maxDelay: 60_000,
      resetAfter: 10_000,
    })
  })

  it.each(['', 'sometimes', 'always:3', 'on-failure:', 'on-failure:x', 'on-failure:-1'])(
    '%j is refused',
    (restart) => {
      expect(() => normalize({ restart })).toThrow(
        expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option: 'restart' }),
      )
    },
  )

  it.each([
    ['no', [false, false, false]],
    ['on-failure', [true, false, false]],
    ['unless-stopped', [true, true, false]],
    ['always', [true, true, true]],
  ] as const)('%s after the host was started anew', (restart, [ran, ended, stopped]) => {
    const container = { options: normalize({ restart }) }
    expect(startsAgain(container, { wasActive: true, stopped: false })).toBe(ran)
    expect(startsAgain(container, { wasActive: false, stopped: false })).toBe(ended)
    expect(startsAgain(container, { wasActive: false, stopped: true })).toBe(stopped)
  })
})

describe('stopping', () => {
  it.each<[Partial<CreateOptions>, string | undefined, object]>([
    [{}, undefined, { signal: 15, timeout: 10_000 }],
    [{}, 'SIGQUIT', { signal: 3, timeout: 10_000 }],
    [{}, '9', { signal: 9, timeout: 10_000 }],
    [{}, 'SIGRTMIN+3', { signal: 37, timeout: 10_000 }],
    [{ stopSignal: 'int', stopTimeout: '1.5s' }, 'SIGQUIT', { signal: 2, timeout: 1500 }],
    [{ stopTimeout: -1 }, undefined, { signal: 15, timeout: -1 }],
  ])('%j of an image with %s', (options, signal, expected) => {
    const image = signal === undefined ? {} : { StopSignal: signal }
    expect(planStop(normalize(options), image)).toEqual(expected)
  })

  it('tells of an image whose signal is none', () => {
    expect(() => planStop(normalize({}), { StopSignal: 'SIGNOT' })).toThrow(
      expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option: 'stopSignal' }),
    )
  })
})

describe('health checks', () => {
  const second = 1e9
  const defaults = {
    interval: 30_000,
    timeout: 30_000,
    retries: 3,
    startPeriod: 0,
    startInterval: 5000,
    onUnhealthy: 'nothing',
  }

  it.each<[HealthcheckOptions | 'none' | undefined, ExecutionParameters, object | undefined]>([
    [undefined, {}, undefined],
    [undefined, { Healthcheck: { Test: ['NONE'] } }, undefined],
    [undefined, { Healthcheck: { Test: [] } }, undefined],
    ['none', { Healthcheck: { Test: ['CMD', 'x'] } }, undefined],
    [{ test: ['NONE'] }, { Healthcheck: { Test: ['CMD', 'x'] } }, undefined],
    [{ interval: '1s' }, {}, undefined],
    [{ test: 'a | b' }, {}, { ...defaults, ...args('/bin/sh', '-c', 'a | b') }],
    [{ test: 'a' }, { Shell: ['bash', '-lc'] }, { ...defaults, ...args('bash', '-lc', 'a') }],
    [{ test: ['CMD', 'a', 'b'] }, {}, { ...defaults, ...args('a', 'b') }],
    [{ test: ['a', 'b'] }, {}, { ...defaults, ...args('a', 'b') }],
    [
      undefined,
      { Healthcheck: { Test: ['CMD-SHELL', 'x'], Interval: 2 * second, Retries: 0, Timeout: 0 } },
      { ...defaults, interval: 2000, ...args('/bin/sh', '-c', 'x') },
    ],
    [
      { interval: '5s', retries: 1, onFailure: 'restart' },
      { Healthcheck: { Test: ['CMD', 'x'], Interval: second, StartPeriod: second } },
      {
        ...defaults,
        interval: 5000,
        retries: 1,
        startPeriod: 1000,
        onUnhealthy: 'restart',
        ...args('x'),
      },
    ],
  ])('%j over %j', (options, image, expected) => {
    expect(health(options, image)).toEqual(expected)
  })

  it.each([{ test: [] }, { test: ['CMD'] }, { test: 'x', retries: 0 }, { interval: 'soon' }])(
    '%j is refused',
    (healthcheck) => {
      expect(() => normalize({ healthcheck })).toThrow(
        expect.objectContaining({ code: 'KEELSON_INVALID_OPTION' }),
      )
    },
  )
})
