import { join } from 'node:path'

/** Where everything of containers lies: what lasts under the engine's root, what runs under its `runRoot`. */
export class ContainerPlaces {
  /** A directory a container, and `names/`. */
  readonly records: string
  readonly names: string
  /** A file a range of ids that a container has. */
  readonly ids: string
  /** Held by who renames, or takes a name over that a crash left, or a range of ids. */
  readonly namesLock: string
  readonly runs: string
  /** Segments of the journal of events. */
  readonly journal: string

  constructor(root: string, runRoot: string) {
    this.records = join(root, 'containers')
    this.names = join(this.records, 'names')
    this.ids = join(this.records, 'ids')
    this.namesLock = join(this.records, 'names.lock')
    this.runs = join(runRoot, 'containers')
    this.journal = join(runRoot, 'events')
  }

  /** `container.json`, `state.json` and `log/` of a container. */
  directory(id: string): string {
    return join(this.records, id)
  }

  record(id: string): string {
    return join(this.records, id, RECORD)
  }

  state(id: string): string {
    return join(this.records, id, 'state.json')
  }

  log(id: string): string {
    return join(this.records, id, 'log', 'container.log')
  }

  /** The directory until it holds the claim: `engine` is making it. */
  making(engine: string, id: string): string {
    return join(this.records, `.${engine}.${id}.making`)
  }

  /** The directory until everything of the container is there: its name then becomes {@link ContainerPlaces.directory}. */
  creating(id: string): string {
    return join(this.records, `.${id}.creating`)
  }

  /** The directory from the moment the container counts as removed until nothing is left of it. */
  removing(id: string): string {
    return join(this.records, `.${id}.removing`)
  }

  /** The claim of a name until it is linked to it. No container can have such a name. */
  claiming(id: string): string {
    return join(this.names, `.${id}`)
  }

  /** The directory of one whose removal has failed: it waits for another try. */
  dead(id: string): string {
    return join(this.records, `.${id}.dead`)
  }

  name(name: string): string {
    return join(this.names, name)
  }

  /** Directory of the monitor, and the bundle of what it runs. */
  run(id: string): string {
    return join(this.runs, id)
  }
}

/** Name of the record in a container's directory. */
export const RECORD = 'container.json'
/** In the directory of a container's run: what a monitor holds as long as it lives. */
export const MONITOR_LOCK = 'lock'
export const MONITOR_SOCKET = 'monitor.sock'
/**
 * In the directory of a container's run: a list of its cgroup directories. There from before a run makes anything on the host until all of
 * that has been taken down.
 */
export const CGROUPS = 'cgroups.json'
/** In the directory of a container that is being made: `NameClaim`. */
export const CLAIM = 'name'
/** A container's id. */
export const FULL_ID = /^[0-9a-f]{64}$/
