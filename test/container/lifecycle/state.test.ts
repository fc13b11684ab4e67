import { describe, expect, it } from 'vitest'
import {
  isActive,
  mustAllow,
  transition,
  type ContainerAction,
} from '../../../src/container/lifecycle/state.ts'
import type { ContainerStatus } from '../../../src/runtime/monitor-protocol.ts'

const ACTIONS = [
  'start',
  'stop',
  'kill',
  'restart',
  'pause',
  'unpause',
  'rename',
  'update',
  'exec',
  'attach',
  'remove',
  'remove by force',
] as const satisfies ContainerAction[]

/** One letter an action, in the order above: what each state allows. */
const ALLOWED: Record<ContainerStatus, string> = {
  created: 'S..R..nu.arf',
  running: '.skRp.nuea.f',
  paused: '.skR.gnu.a.f',
  restarting: '.skR..nu.a.f',
  stopping: '.skR..nu.a.f',
  exited: 'S..R..nu.arf',
  dead: '..........rf',
  removing: '............',
}

describe('states', () => {
  it.each(Object.entries(ALLOWED) as [ContainerStatus, string][])('%s', (status, allowed) => {
    const found = ACTIONS.map((action) => transition(status, action) !== undefined)
    expect(found).toEqual(allowed.split('').map((letter) => letter !== '.'))
  })

  it('name themselves when they stand in the way', () => {
    const container = { id: 'f'.repeat(64), name: 'web' }
    expect(() => mustAllow(container, 'running', 'start')).toThrow(
      expect.objectContaining({
        code: 'KEELSON_CONTAINER_STATE',
        message: 'Cannot start the container web: it is running.',
        containerStatus: 'running',
        action: 'start',
        hint: 'It runs already.',
      }),
    )
    expect(() => mustAllow(container, 'exited', 'start')).not.toThrow()
  })

  it('tell whether there is a program, or will be', () => {
    const active = Object.keys(ALLOWED).filter((status) => isActive(status as ContainerStatus))
    expect(active).toEqual(['running', 'paused', 'restarting', 'stopping'])
  })
})
