import type { NetworkStats } from './stats.ts'

/** `/proc/<pid>/net/dev` without loopback. Names are the container's to choose, but never hold a colon or a space. Pure. */
export function parseNetworks(text: string): Record<string, NetworkStats> {
  const lines = text.split('\n').flatMap((line): [string, NetworkStats][] => {
    const [, name = '', numbers = ''] = /^ *([^\s:]+):(.*)$/.exec(line) ?? []
    const values = numbers.trim().split(/\s+/).map(Number)
    if (name === '' || name === 'lo' || values.length < 12) return []
    const at = (index: number) => values[index] ?? 0
    const received = { rxBytes: at(0), rxPackets: at(1), rxErrors: at(2), rxDropped: at(3) }
    const sent = { txBytes: at(8), txPackets: at(9), txErrors: at(10), txDropped: at(11) }
    return [[name, { ...received, ...sent }]]
  })
  return Object.fromEntries(lines)
}
