import { keelsonError } from '../errors.ts'
import { show } from '../util/printable.ts'

/** Where a container gets a volume from. */
export type VolumeSource =
  | { kind: 'directory'; path: string }
  /** Mounted in the container's own mount namespace, so that it goes with the container. */
  | { kind: 'mount'; type: string; device: string; options: string[] }

const KNOWN = ['type', 'o', 'device']
const BINDS = new Set(['bind', 'rbind'])

/**
 * Checks the options of the driver `local`, which are mount(8)'s.
 *
 * @throws `KEELSON_INVALID_OPTION`
 */
export function checkLocalOptions(options: Readonly<Record<string, string>>): void {
  const unknown = Object.keys(options).find((name) => !KNOWN.includes(name))
  if (unknown !== undefined) {
    throw invalid(`has ${show(unknown)}`, `The driver local knows ${KNOWN.join(', ')}.`)
  }
  if (Object.keys(options).length === 0) return
  const { type, device } = options
  if (!type || !device) {
    throw invalid(
      'must have type and device',
      "As { type: 'tmpfs', device: 'tmpfs', o: 'size=64m' }.",
    )
  }
  if (isBind(options) && !device.startsWith('/')) {
    throw invalid(`has the device ${show(device)}`, 'A bind needs an absolute path of the host.')
  }
}

/**
 * Of a volume of the driver `local`. Pure.
 *
 * @param data the directory of one without options
 */
export function localSource(options: Readonly<Record<string, string>>, data: string): VolumeSource {
  const { type, device } = options
  if (type === undefined || device === undefined) return { kind: 'directory', path: data }
  if (isBind(options)) return { kind: 'directory', path: device }
  return { kind: 'mount', type, device, options: words(options) }
}

function isBind(options: Readonly<Record<string, string>>): boolean {
  return words(options).some((word) => BINDS.has(word))
}

function words({ o = '' }: Readonly<Record<string, string>>): string[] {
  return o.split(',').filter((word) => word !== '')
}

function invalid(complaint: string, hint: string) {
  return keelsonError('KEELSON_INVALID_OPTION', `The option options ${complaint}.`, {
    option: 'options',
    hint,
  })
}
