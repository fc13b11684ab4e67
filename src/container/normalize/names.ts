/** What a container is called, and what it calls others: host names, /etc/hosts, name servers. */
import { isIP } from 'node:net'
import { invalid } from './values.ts'

export function hostName(option: string, name: string | undefined): string | undefined {
  if (name === undefined) return undefined
  if (name.length <= 63 && /^[a-zA-Z0-9_](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9_])?$/.test(name)) return name
  throw invalid(
    option,
    `is not a host name: ${JSON.stringify(name)}`,
    'Letters, digits, dots and hyphens, at most 63.',
  )
}

export function hostLines(hosts: Record<string, string> | readonly string[]) {
  const entries: [string, string][] = Array.isArray(hosts)
    ? hosts.map((line: string) => {
        const at = line.search(/[:=]/)
        return [line.slice(0, at), line.slice(at + 1)]
      })
    : Object.entries(hosts)
  return entries.map(([name, address]) => {
    if (hostName('extraHosts', name) === undefined || isIP(address) === 0) {
      throw invalid(
        'extraHosts',
        `has ${JSON.stringify(address)} for ${name}, which is not an IP address`,
      )
    }
    return { name, address }
  })
}

export function addresses(list: readonly string[] | undefined): string[] | undefined {
  for (const address of list ?? []) {
    if (isIP(address) === 0)
      throw invalid('dns', `has ${JSON.stringify(address)}, which is not an IP address`)
  }
  return list === undefined ? undefined : [...list]
}
