import { keelsonError } from '../errors.ts'
import { show } from '../util/printable.ts'
import { checkLocalOptions } from './local.ts'

/** A volume to be made. */
export interface VolumeOptions {
  /** 2 to 128 letters, digits, `_`, `.`, `-`. Default: 64 hexadecimal digits, and it counts as anonymous. */
  name?: string
  labels?: Record<string, string>
  /** `local`, or one of `volumeDrivers` of `Engine.open()`. Default `local`. */
  driver?: string
  /** The driver's. Of `local`: `type`, `device` and `o`, as mount(8) has them; none of them: a directory under the engine's root. */
  options?: Record<string, string>
}

/** {@link VolumeOptions} in one form. */
export interface NormalizedVolume {
  name: string | undefined
  labels: Record<string, string>
  driver: string
  options: Record<string, string>
}

const NAMES = ['name', 'labels', 'driver', 'options']
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$/

/** @throws `KEELSON_INVALID_OPTION` */
export function normalizeVolume(given: VolumeOptions): NormalizedVolume {
  for (const name of Object.keys(given)) {
    if (!NAMES.includes(name)) {
      throw invalid(
        name,
        'is not an option of volumes.create()',
        `The options are ${NAMES.join(', ')}.`,
      )
    }
  }
  const { name, labels = {}, driver = 'local', options = {} } = given
  if (typeof driver !== 'string' || driver === '') {
    throw invalid('driver', `must be a name, not ${show(driver)}`, "Use 'local'.")
  }
  const normalized = {
    name: name === undefined ? undefined : checkVolumeName(name, 'name'),
    labels: texts('labels', labels),
    driver,
    options: texts('options', options),
  }
  if (driver === 'local') checkLocalOptions(normalized.options)
  return normalized
}

/** @throws `KEELSON_INVALID_OPTION` naming `option` */
export function checkVolumeName(name: unknown, option: string): string {
  if (typeof name === 'string' && NAME.test(name)) return name
  throw invalid(
    option,
    `has ${show(name)} for the name of a volume`,
    'Use 2 to 128 letters, digits, "_", "." and "-", or path.resolve() for a path of the host.',
  )
}

function texts(option: string, record: unknown): Record<string, string> {
  const isObject = typeof record === 'object' && record !== null && !Array.isArray(record)
  const entries = isObject ? Object.entries(record) : []
  if (isObject && entries.every((entry): entry is [string, string] => typeof entry[1] === 'string'))
    return Object.fromEntries(entries)
  throw invalid(option, `must be an object of texts, not ${show(record)}`, "As { key: 'value' }.")
}

function invalid(option: string, complaint: string, hint: string) {
  return keelsonError('KEELSON_INVALID_OPTION', `The option ${option} ${complaint}.`, {
    option,
    hint,
  })
}
