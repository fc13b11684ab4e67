import { describe, expect, test } from 'vitest'
import { idRanges, mappingsOf } from '../../../src/container/namespaces/id-ranges.ts'

const first = (subuid: string, subgid: string, count = 3) => {
  const found: [number, number][] = []
  for (const { uid, gid } of idRanges(subuid, subgid)) {
    found.push([uid, gid])
    if (found.length === count) break
  }
  return found
}

describe('ranges of ids', () => {
  test('are those of the user keelson, before those of the user containers', () => {
    const both = 'containers:500000:65536\nkeelson:200000:131072\n'
    expect(first(both, both)).toEqual([
      [200000, 200000],
      [265536, 265536],
    ])
    expect(first('containers:500000:65536', 'containers:700000:65537')).toEqual([[500000, 700000]])
  })

  test('come from all lines, and what is too short is left out', () => {
    const text = 'keelson:1000:65535\nkeelson:100000:65536\nother:1:65536\nkeelson:300000:70000\n'
    expect(first(text, text)).toEqual([
      [100000, 100000],
      [300000, 300000],
    ])
  })

  test('are high ones where nobody has any for them, and nobody else has those', () => {
    expect(first('', '')[0]).toEqual([0x7000_0000, 0x7000_0000])
    expect(first('keelson:100000:65536', '')[0]).toEqual([0x7000_0000, 0x7000_0000])
    const taken = `someone:${0x7000_0000 + 65535}:2`
    expect(first(taken, '')[0]).toEqual([0x7002_0000, 0x7002_0000])
    expect(first('', taken)[0]).toEqual([0x7002_0000, 0x7002_0000])
    expect([...idRanges('', '')]).toHaveLength(4094)
  })

  test('become mappings that begin with root', () => {
    expect(mappingsOf({ uid: 1, gid: 2 })).toEqual({
      uidMappings: [{ containerID: 0, hostID: 1, size: 65536 }],
      gidMappings: [{ containerID: 0, hostID: 2, size: 65536 }],
    })
  })
})
