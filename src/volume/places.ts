import { join } from 'node:path'

/**
 * Where volumes lie under an engine's root:
 *
 * ```
 * volumes/<name>/volume.json  volumes/<name>/data  volumes/<name>/lock
 * volumes/<name>/users/<container>   says that a container uses it
 * volumes/.<name>.<digits>.creating  half made; a rename makes it a volume
 * volumes/.<name>.<digits>.removing  being removed
 * ```
 */
export class VolumePlaces {
  readonly volumes: string
  /** Held shared by whoever makes or removes a volume, exclusively by whoever sweeps up after a crash. */
  readonly lock: string

  constructor(root: string) {
    this.volumes = join(root, 'volumes')
    this.lock = join(root, 'volumes.lock')
  }

  directory(name: string): string {
    return join(this.volumes, name)
  }

  record(name: string): string {
    return join(this.volumes, name, VOLUME_RECORD)
  }

  data(name: string): string {
    return join(this.volumes, name, VOLUME_DATA)
  }

  /** Held by whoever begins to use the volume, fills it, or removes it. */
  useLock(name: string): string {
    return join(this.volumes, name, 'lock')
  }

  users(name: string): string {
    return join(this.volumes, name, VOLUME_USERS)
  }

  user(name: string, container: string): string {
    return join(this.volumes, name, VOLUME_USERS, container)
  }

  creating(name: string, digits: string): string {
    return join(this.volumes, `.${name}.${digits}.creating`)
  }

  removing(name: string, digits: string): string {
    return join(this.volumes, `.${name}.${digits}.removing`)
  }
}

/** What is in the directory of a volume. */
export const VOLUME_RECORD = 'volume.json'
export const VOLUME_DATA = 'data'
export const VOLUME_USERS = 'users'
