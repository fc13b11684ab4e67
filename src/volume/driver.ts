import { isAbsolute } from 'node:path'
import { keelsonError, type KeelsonError } from '../errors.ts'
import { show } from '../util/printable.ts'

/** What a driver is told of a volume. */
export interface DriverVolume {
  name: string
  options: Readonly<Record<string, string>>
  labels: Readonly<Record<string, string>>
}

/**
 * A kind of volumes that a program brings with it: `volumeDrivers` of `Engine.open()`. Containers that use one end with the program.
 *
 * @example
 * ```ts
 * import { mkdtemp, rm } from 'node:fs/promises'
 * import { Engine, type VolumeDriver } from 'keelson'
 *
 * const scratch: VolumeDriver = {
 *   name: 'scratch',
 *   mount: () => mkdtemp('/tmp/scratch-'),
 *   unmount: (_volume, { path }) => rm(path, { recursive: true }),
 * }
 * await using engine = await Engine.open({ volumeDrivers: [scratch] })
 * await engine.volumes.create({ name: 'work', driver: 'scratch' })
 * ```
 */
export interface VolumeDriver {
  name: string
  /** A volume is being made; what it throws prevents that. */
  create?(volume: DriverVolume): Promise<void> | void
  /** It is being removed. */
  remove?(volume: DriverVolume): Promise<void> | void
  /** A container that uses it is being made: the absolute path of the host where its files are. */
  mount(volume: DriverVolume, use: { container: string }): Promise<string> | string
  /** Once for each `mount`: that container is no more. */
  unmount?(volume: DriverVolume, use: { container: string; path: string }): Promise<void> | void
}

/** Calls a driver. What it throws is the cause of `KEELSON_VOLUME_DRIVER`. */
export async function callDriver<T>(
  { name }: VolumeDriver,
  volume: string,
  doing: string,
  call: () => Promise<T> | T,
): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    throw keelsonError(
      'KEELSON_VOLUME_DRIVER',
      `The volume driver ${name} could not ${doing} ${volume}.`,
      { cause, driver: name, volume, hint: 'The cause is what the driver has thrown.' },
    )
  }
}

/** @throws `KEELSON_VOLUME_DRIVER` */
export async function mountByDriver(
  driver: VolumeDriver,
  volume: DriverVolume,
  container: string,
): Promise<string> {
  const path: unknown = await callDriver(driver, volume.name, 'mount', () =>
    driver.mount(volume, { container }),
  )
  if (typeof path === 'string' && isAbsolute(path)) return path
  throw keelsonError(
    'KEELSON_VOLUME_DRIVER',
    `The volume driver ${driver.name} mounted ${volume.name} at ${show(path)}.`,
    { driver: driver.name, volume: volume.name, hint: 'mount() must give an absolute path.' },
  )
}

export function noDriver(driver: string, known: Iterable<string>): KeelsonError {
  return keelsonError('KEELSON_VOLUME_DRIVER', `There is no volume driver ${driver}.`, {
    driver,
    hint: `There are ${['local', ...known].join(', ')}; Engine.open({ volumeDrivers }) adds others.`,
  })
}
