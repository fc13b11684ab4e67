import { describe, expect, test } from 'vitest'
import type { FaultPlan } from '../../../src/network/faults/fault.ts'
import type { Place } from '../../../src/network/faults/members.ts'
import { planFaults } from '../../../src/network/faults/plan.ts'

const PLACES = new Map<string, Place>([
  ['host', { mac: 'mac-host', addresses: ['10.0.0.1'] }],
  ['a', { link: 'link-a', mac: 'mac-a', addresses: ['10.0.0.2', 'fd00::2'] }],
  ['b', { link: 'link-b', mac: 'mac-b', addresses: ['10.0.0.3', 'fd00::3'] }],
  ['stopped', { link: 'link-stopped', addresses: [] }],
])
const link = (pair: [string, string], more: object = {}): FaultPlan => {
  const none = { direction: 'both', latency: 0, jitter: 0, loss: 0 } as const
  return { id: pair.join(), kind: 'link', pairs: [pair], ...none, ...more }
}
const cut = (pair: [string, string], reject = false): FaultPlan => {
  return { id: `cut ${pair.join()}`, kind: 'partition', pairs: [pair], reject }
}
const plan = (...faults: FaultPlan[]) => planFaults(faults, PLACES, (from, to) => `${from}>${to}`)
const filled = (elements: object) =>
  Object.fromEntries(Object.entries(elements).filter(([, each]) => (each as []).length > 0))

describe('a partition', () => {
  test('of containers cuts their ports, what came through the helper, and the way by the host', () => {
    const { elements, pipes } = plan(cut(['a', 'b']))
    expect(pipes).toEqual([])
    expect(filled(elements)).toEqual({
      ports: [
        ['link-a', 'link-b'],
        ['link-b', 'link-a'],
      ],
      macs: [
        ['mac-a', 'mac-b'],
        ['mac-b', 'mac-a'],
      ],
      addresses4: [
        ['10.0.0.2', '10.0.0.3'],
        ['10.0.0.3', '10.0.0.2'],
      ],
      addresses6: [
        ['fd00::2', 'fd00::3'],
        ['fd00::3', 'fd00::2'],
      ],
    })
  })

  test('from the host is of a port alone, and of one that is to start by its name', () => {
    expect(filled(plan(cut(['a', 'host'])).elements)).toMatchObject({ host: ['link-a', 'link-a'] })
    expect(filled(plan(cut(['stopped', 'b'])).elements)).toEqual({
      ports: [
        ['link-stopped', 'link-b'],
        ['link-b', 'link-stopped'],
      ],
    })
  })

  test('that rejects lets the helper answer', () => {
    const { elements, pipes } = plan(cut(['a', 'b'], true))
    expect(pipes).toEqual([
      { via: 'a>b', from: 'mac-a', to: 'mac-b', reject: true, stages: [], resets: [] },
      { via: 'b>a', from: 'mac-b', to: 'mac-a', reject: true, stages: [], resets: [] },
    ])
    expect(elements.ports).toEqual([])
    expect(elements.refusedPorts).toHaveLength(2)
  })

  test('goes before whatever else there is', () => {
    const { pipes } = plan(link(['a', 'b'], { latency: 5 }), cut(['b', 'a']), cut(['a', 'b'], true))
    expect(pipes).toEqual([])
  })
})

describe('links', () => {
  test('lead packets to the helper, where every fault counts, each in its directions', () => {
    const { elements, pipes } = plan(
      link(['a', 'b'], { latency: 5 }),
      link(['b', 'a'], { loss: 0.5, direction: 'forward' }),
    )
    expect(elements.pipes).toEqual([
      ['link-a', 'mac-b', 'a>b'],
      ['link-b', 'mac-a', 'b>a'],
    ])
    expect(pipes.map(({ stages }) => stages.map(({ id }) => id))).toEqual([['a,b'], ['a,b', 'b,a']])
  })

  test('to the host have another table for what it sends', () => {
    const { elements } = plan(link(['a', 'host'], { latency: 5 }))
    expect(filled(elements)).toEqual({
      pipes: [['link-a', 'mac-host', 'a>host']],
      hostPipes: [['mac-a', 'host>a']],
    })
  })

  test('wait for who does not run', () => {
    expect(filled(plan(link(['a', 'stopped'], { latency: 5 })).elements)).toEqual({})
  })

  test('that are reset name their connections in both directions, also where they are cut', () => {
    const reset = {
      pair: ['a', 'b'] as [string, string],
      connections: [['10.0.0.2', 4000, '10.0.0.3', 80]] as [[string, number, string, number]],
    }
    const { pipes } = planFaults([cut(['a', 'b'])], PLACES, (...ends) => ends.join('>'), [reset])
    expect(pipes.map(({ resets }) => resets)).toEqual([
      [['10.0.0.2', 4000, '10.0.0.3', 80]],
      [['10.0.0.3', 80, '10.0.0.2', 4000]],
    ])
  })
})
