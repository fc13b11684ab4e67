import { join } from 'node:path'

/** Where everything of networks lies: what lasts under the engine's root, what a reboot ends under its `runRoot`. */
export class NetworkPlaces {
  /** A record a network, by name. */
  readonly records: string
  /** Held by who adds or removes a network, so that no two choose one subnet. */
  readonly lock: string
  /** What all networks have while this boot lasts. */
  readonly runs: string

  constructor(root: string, runRoot: string) {
    this.records = join(root, 'networks')
    this.lock = join(root, 'networks.lock')
    this.runs = join(runRoot, 'networks')
  }

  record(name: string): string {
    return join(this.records, `${name}.json`)
  }

  /** What a network has while this boot lasts. */
  run(id: string): string {
    return join(this.runs, id)
  }

  /** Held by who makes or removes the bridge. */
  bridgeLock(id: string): string {
    return join(this.runs, `${id}.lock`)
  }

  /** Is there when the bridge is. */
  ready(id: string): string {
    return join(this.run(id), 'ready')
  }

  /** A file an address, which holds the id of the container that has it. */
  addresses(id: string): string {
    return join(this.run(id), 'addresses')
  }

  /** A file a container: the firewall's commands that take its ports away. */
  undo(id: string): string {
    return join(this.run(id), 'undo')
  }

  /** A file a container: its addresses, one a line, then its name. */
  endpoints(id: string): string {
    return join(this.run(id), 'endpoints')
  }

  /** Held by the program whose server has that name. */
  server(id: string, name: string): string {
    return join(this.run(id), 'servers', name)
  }

  /** A file a function that is asked for names first: `docs/helper-protocol.md`, _Functions that resolve names_. */
  resolvers(id: string): string {
    return join(this.run(id), 'resolvers')
  }

  /** A directory a name, with a link a container, to its file in {@link endpoints}. */
  names(id: string): string {
    return join(this.run(id), 'names')
  }
}
