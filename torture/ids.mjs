import { mkdirSync, readdirSync, readFileSync, watch } from 'node:fs'
import { join } from 'node:path'

const ID = /[0-9a-f]{64}/g

/**
 * The ids of all containers that there have been on one root. Cgroups are those of the whole host, where other engines may be at work: by
 * their names it is known which are ours.
 */
export class ContainerIds {
  #seen = new Set()
  #place
  #watcher

  constructor(place) {
    this.#place = place
    const records = join(place.root, 'containers')
    mkdirSync(records, { recursive: true, mode: 0o700 })
    this.#watcher = watch(records, (_, name) => this.#add(name ?? ''))
  }

  has(id) {
    return this.#seen.has(id)
  }

  /** Notes what is there now: of a run, what it has to be found by if it is killed, or else its events. */
  look() {
    const { root, runRoot } = this.#place
    const engines = join(runRoot, 'engines')
    const places = [join(root, 'containers'), join(runRoot, 'containers')]
    for (const engine of list(engines)) places.push(join(engines, engine))
    for (const place of places) this.#add(list(place).join(' '))
    const journal = join(runRoot, 'events')
    for (const segment of list(journal)) this.#add(readFileSync(join(journal, segment), 'latin1'))
  }

  async [Symbol.asyncDispose]() {
    this.#watcher.close()
  }

  #add(text) {
    for (const [id] of text.matchAll(ID)) this.#seen.add(id)
  }
}

function list(directory) {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
