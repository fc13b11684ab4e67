/** What is executed: entrypoint, environment, working directory, and the devices it finds. */
import { show } from '../../util/printable.ts'
import type { Device } from '../options/options.ts'
import { entries, invalid, list, text, words } from './values.ts'

/** An empty word is Docker's way to say "none". */
export function entrypointWords(
  value: string | readonly string[] | undefined,
): string[] | undefined {
  return words('entrypoint', value === '' ? [] : value)
}

export function environmentRecord(
  env: Record<string, string | undefined> | readonly string[] | undefined,
) {
  const pairs: [string, string | undefined][] = Array.isArray(env)
    ? list('env', env as string[]).map((line) => {
        const at = text('env', line).indexOf('=')
        return at < 0 ? [line, undefined] : [line.slice(0, at), line.slice(at + 1)]
      })
    : entries('env', env as Record<string, string | undefined> | undefined)
  for (const [name, value] of pairs) {
    text('env', name)
    if (name === '' || name.includes('=')) {
      throw invalid(
        'env',
        `has a variable named ${JSON.stringify(name)}`,
        'A name is not empty and has no "=".',
      )
    }
    if (value !== undefined) text('env', value)
  }
  return Object.fromEntries(pairs)
}

export function workdirPath(path: string | undefined): string | undefined {
  if (path === undefined) return undefined
  if (!text('workdir', path).startsWith('/')) {
    throw invalid('workdir', `must be an absolute path, not ${JSON.stringify(path)}`)
  }
  return path
}

export function device(value: Device | string): Required<Device> {
  if (typeof value !== 'string' && (typeof value !== 'object' || value === null)) {
    throw invalid('devices', `holds ${show(value)}`, 'Give paths, or objects with a path.')
  }
  const [path = '', second, third] =
    typeof value === 'string' ? value.split(':') : [value.path, value.target, value.access]
  const isTarget = second !== undefined && text('devices', second).startsWith('/')
  const access = third ?? (second !== undefined && !isTarget ? second : 'rwm')
  if (!text('devices', path).startsWith('/'))
    throw invalid('devices', `needs an absolute path, not ${show(path)}`)
  if (!/^[rwm]{1,3}$/.test(text('devices', access)))
    throw invalid('devices', `has access ${show(access)}`, 'Use letters of "rwm".')
  return { path, target: isTarget ? second : path, access }
}
