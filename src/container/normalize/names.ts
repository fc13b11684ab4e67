/** What a container is called, and what it calls others: host names, /etc/hosts, name servers. */
import { isIP } from 'node:net'
import { show } from '../../util/printable.ts'
import { HOST_GATEWAY } from '../../network/names/names.ts'
import { entries, invalid, list, text } from './values.ts'

export function hostName(option: string, name: string | undefined): string | undefined {
  if (name === undefined) return undefined
  if (
    typeof name === 'string' &&
    name.length <= 63 &&
    /^[a-zA-Z0-9_](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9_])?$/.test(name)
  )
    return name
  throw invalid(
    option,
    `is not a host name: ${show(name)}`,
    'Letters, digits, dots and hyphens, at most 63.',
  )
}

export function hostLines(hosts: Record<string, string> | readonly string[] | undefined) {
  const pairs: [string, string][] = Array.isArray(hosts)
    ? list('extraHosts', hosts as string[]).map((line) => {
        const at = text('extraHosts', line).search(/[:=]/)
        if (at < 0) throw invalid('extraHosts', `has ${show(line)}`, 'Write it as "name:address".')
        return [line.slice(0, at), line.slice(at + 1)]
      })
    : entries('extraHosts', hosts as Record<string, string> | undefined)
  return pairs.map(([name, address]) => {
    const known = text('extraHosts', address) === HOST_GATEWAY || isIP(address) !== 0
    if (hostName('extraHosts', name) === undefined || !known) {
      throw invalid(
        'extraHosts',
        `has ${show(address)} for ${name}, which is not an IP address`,
        `Give an address, or ${HOST_GATEWAY} for the host's.`,
      )
    }
    return { name, address }
  })
}

export function addresses(given: readonly string[] | undefined): string[] | undefined {
  for (const address of list('dns', given)) {
    if (isIP(text('dns', address)) === 0) {
      throw invalid('dns', `has ${show(address)}, which is not an IP address`)
    }
  }
  return given === undefined ? undefined : [...given]
}
