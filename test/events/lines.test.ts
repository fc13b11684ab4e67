import { describe, expect, it } from 'vitest'
import { decodeJournalLine } from '../../src/events/lines.ts'
import type { MonitorState } from '../../src/runtime/monitor-protocol.ts'

const idle: MonitorState = {
  version: 1,
  status: 'created',
  monitor: 7,
  pid: 0,
  exitCode: null,
  signal: null,
  oomKilled: false,
  restartCount: 0,
  stopped: false,
}
const state = (status: MonitorState['status'], more: Partial<MonitorState> = {}): MonitorState => ({
  ...idle,
  status,
  ...more,
})
const ran = { pid: 42, startedAt: '2026-11-24T10:00:00.000000001Z' }
const health = (status: 'starting' | 'healthy' | 'unhealthy') => ({
  health: { status, failingStreak: 0, log: [] },
})
const about = { name: 'web', image: 'alpine', digest: 'sha256:1', labels: { a: 'b' } }
const tell = (was: MonitorState | undefined, now: MonitorState) =>
  decodeJournalLine(
    JSON.stringify({ time: '2026-11-24T10:00:01Z', container: 'c1', about, was, state: now }),
  ).events

describe('lines of monitors', () => {
  it.each<[string, MonitorState | undefined, MonitorState, string[]]>([
    ['a first start', undefined, state('running', ran), ['start']],
    ['a failed start', undefined, state('created'), []],
    ['a pause', state('running', ran), state('paused', ran), ['pause']],
    ['its end', state('paused', ran), state('running', ran), ['unpause']],
    ['a stop begun', state('running', ran), state('stopping', ran), []],
    ['a stop of a paused one begun', state('paused', ran), state('stopping', ran), []],
    ['an end', state('stopping', ran), state('exited', { exitCode: 0 }), ['exit']],
    ['a restart to come', state('running', ran), state('restarting', { exitCode: 1 }), ['exit']],
    ['a restart', state('restarting'), state('running', ran), ['start']],
    ['a restart given up', state('restarting'), state('exited', { exitCode: 1 }), []],
    [
      'an end for want of memory',
      state('running', ran),
      state('exited', { signal: 9, oomKilled: true }),
      ['oom', 'exit'],
    ],
    ['starting health', undefined, state('running', { ...ran, ...health('starting') }), ['start']],
    [
      'health',
      state('running', { ...ran, ...health('starting') }),
      state('running', { ...ran, ...health('healthy') }),
      ['health'],
    ],
    [
      'the same health',
      state('running', { ...ran, ...health('healthy') }),
      state('running', { ...ran, ...health('healthy') }),
      [],
    ],
  ])('%s', (_, was, now, types) => {
    const events = tell(was, now)
    expect(events.map(({ type }) => type)).toEqual(types.map((type) => `container.${type}`))
    for (const event of events) expect(event).toMatchObject({ container: 'c1', ...about })
  })

  it('tell how it ended', () => {
    const [event] = tell(state('running', ran), state('restarting', { signal: 9 }))
    expect(event).toMatchObject({ exitCode: null, signal: 'SIGKILL', restarting: true })
    expect(event?.time).toEqual(new Date('2026-11-24T10:00:01Z'))
  })
})

describe('other lines', () => {
  it('are events as they are, with who told them', () => {
    const line = {
      time: '2026-11-24T10:00:01Z',
      type: 'container.rename',
      container: 'c1',
      ...about,
    }
    expect(decodeJournalLine(JSON.stringify({ ...line, oldName: 'x', engine: 'e1' }))).toEqual({
      events: [{ ...line, time: new Date(line.time), oldName: 'x' }],
      engine: 'e1',
    })
  })

  it.each(['', '{', 'null', '7', '{"type":"container.start"}', '{"time":"x","container":"c"}'])(
    'torn or strange ones are none: %s',
    (line) => {
      expect(decodeJournalLine(line)).toEqual({ events: [] })
    },
  )
})
