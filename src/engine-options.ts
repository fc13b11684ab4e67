import { isAbsolute, join } from 'node:path'
import { keelsonError } from './errors.ts'
import type { RegistryOptions } from './registry/options.ts'
import type { VolumeDriver } from './volume/driver.ts'

/** Something that was done differently from what could be expected, and why. */
export interface Warning {
  /** Stable name: `ulimit-clamped`, `apparmor-parser-missing`, ... */
  code: string
  /** One sentence. */
  message: string
}

/** How {@link Engine.open} opens an engine. Everything has a default. */
export interface EngineOptions {
  /**
   * Directory of images and writable layers. Default `/var/lib/keelson`, or `$XDG_DATA_HOME/keelson`
   * (`~/.local/share/keelson`) when not root. Any number of engines, in any number of processes, may share one.
   */
  root?: string
  /**
   * Directory of runtime state, on tmpfs: it need not survive a reboot. Default `/run/keelson`, or
   * `$XDG_RUNTIME_DIR/keelson` when not root. Engines that share a root must share this too.
   */
  runRoot?: string
  /** Options a registry, by host (`'127.0.0.1:5000'`): mirrors, credentials, certificates. */
  registries?: Record<string, RegistryOptions>
  /** How layers are kept. `auto` takes `overlay` where the kernel can mount it here, else `copy`. Default `auto`. */
  snapshotter?: 'auto' | 'overlay' | 'copy'
  /** Kinds of volumes that this program brings with it, beside `local`. */
  volumeDrivers?: readonly VolumeDriver[]
  /** Hears what was done differently from what could be expected. Default: emitted with `process.emitWarning`. */
  onWarning?: (warning: Warning) => void
}

/** {@link EngineOptions} with every default filled in. */
export interface ResolvedEngineOptions {
  root: string
  runRoot: string
  registries: Record<string, RegistryOptions>
  snapshotter: 'auto' | 'overlay' | 'copy'
  volumeDrivers: readonly VolumeDriver[]
  onWarning: (warning: Warning) => void
}

/** Who runs the program, as far as defaults depend on it. */
export interface Caller {
  uid: number
  home: string
  environment: NodeJS.ProcessEnv
}

const NAMES = ['root', 'runRoot', 'registries', 'snapshotter', 'volumeDrivers', 'onWarning']
const SNAPSHOTTERS = ['auto', 'overlay', 'copy']

/**
 * Checks `options` and fills in the defaults for `caller`. Pure.
 *
 * @throws `KEELSON_INVALID_OPTION`
 */
export function resolveEngineOptions(
  options: EngineOptions,
  caller: Caller,
): ResolvedEngineOptions {
  for (const name of Object.keys(options)) {
    if (!NAMES.includes(name)) {
      throw invalid(
        name,
        `is not an option of Engine.open()`,
        `The options are ${NAMES.join(', ')}.`,
      )
    }
  }
  const { snapshotter = 'auto', registries = {}, onWarning = emitWarning } = options
  if (!SNAPSHOTTERS.includes(snapshotter)) {
    throw invalid(
      'snapshotter',
      `cannot be ${JSON.stringify(snapshotter)}`,
      `Use one of ${SNAPSHOTTERS.join(', ')}.`,
    )
  }
  const root = options.root ?? join(dataHome(caller), 'keelson')
  const runRoot = options.runRoot ?? join(runtimeHome(caller), 'keelson')
  for (const [name, path] of Object.entries({ root, runRoot })) {
    if (typeof path !== 'string' || !isAbsolute(path) || path.includes('\0')) {
      throw invalid(
        name,
        `must be an absolute path, not ${JSON.stringify(path)}`,
        'Pass path.resolve(...).',
      )
    }
  }
  const volumeDrivers = checkDrivers(options.volumeDrivers)
  return { root, runRoot, registries, snapshotter, volumeDrivers, onWarning }
}

function checkDrivers(drivers: unknown = []): readonly VolumeDriver[] {
  const list = Array.isArray(drivers) ? (drivers as readonly Partial<VolumeDriver>[]) : [{}]
  const names = new Set(['local'])
  for (const { name, mount } of list) {
    if (typeof name !== 'string' || typeof mount !== 'function' || names.has(name)) {
      throw invalid(
        'volumeDrivers',
        `holds ${name === undefined ? 'what is no driver' : JSON.stringify(name)}`,
        "Give objects with mount() and a name of their own, which is not 'local'.",
      )
    }
    names.add(name)
  }
  return list as readonly VolumeDriver[]
}

function dataHome({ uid, home, environment }: Caller): string {
  if (uid === 0) return '/var/lib'
  return absolute(environment['XDG_DATA_HOME']) ?? join(home, '.local/share')
}

/** Without a session there is no `XDG_RUNTIME_DIR`; a directory of the user's own in /tmp stands in for it. */
function runtimeHome({ uid, environment }: Caller): string {
  if (uid === 0) return '/run'
  return absolute(environment['XDG_RUNTIME_DIR']) ?? `/tmp/keelson-${uid}`
}

/** The XDG base directory specification has relative paths ignored. */
function absolute(path: string | undefined): string | undefined {
  return path !== undefined && isAbsolute(path) ? path : undefined
}

function emitWarning({ code, message }: Warning): void {
  process.emitWarning(message, { type: 'KeelsonWarning', code })
}

function invalid(option: string, complaint: string, hint: string) {
  return keelsonError('KEELSON_INVALID_OPTION', `The engine option ${option} ${complaint}.`, {
    hint,
    option,
  })
}
