import { createHash } from 'node:crypto'
import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

/**
 * What is wrong below an engine's two directories when nobody but a bystander uses them, one sentence each: blobs that are not what their
 * names say, names without content, directories and claims of what is no more, torn lines of the journal.
 *
 * @param {{ root: string, runRoot: string }} place
 * @param {(idOrName: string) => boolean} spared
 */
export async function wrong({ root, runRoot }, spared) {
  const content = join(root, 'content')
  return [
    ...(await blobs(content)),
    ...references(content),
    ...remaining('half blob', join(content, 'ingest'), () => false),
    ...temporaries(root),
    ...claims({ root, runRoot }, { containers: spared, networks: spared, volumes: spared }),
    ...journal(join(runRoot, 'events')),
    ...snapshots(join(root, 'snapshots'), spared),
    ...remaining('run of a container', join(runRoot, 'containers'), spared),
    ...remaining('file', root, (name) => ROOT.has(name)),
    ...remaining('file', runRoot, (name) => RUN_ROOT.has(name)),
  ]
}

const ROOT = new Set(
  'containers content locks networks networks.lock snapshots volumes volumes.lock'.split(' '),
)
const RUN_ROOT = new Set(['containers', 'engines', 'engines.lock', 'events', 'networks'])

/**
 * What is claimed by containers, networks and volumes that are not there, and which of those that are there lack what is theirs.
 *
 * @param {{ root: string, runRoot: string }} place
 * @param {Record<'containers' | 'networks' | 'volumes', (idOrName: string) => boolean>} there `leavesName`: whether it may be gone, and its
 *   name not yet
 */
export function claims({ root, runRoot }, there) {
  const containers = join(root, 'containers')
  const records = list(containers).filter((name) => /^[0-9a-f]{64}$/.test(name))
  const named = new Map(
    list(join(containers, 'names')).map((name) => [
      name,
      jsonOf(join(containers, 'names', name))?.id,
    ]),
  )
  const networks = list(join(root, 'networks')).map((name) => {
    return { name, id: jsonOf(join(root, 'networks', name))?.id }
  })
  const isThere = (id) => there.containers(id)
  return [
    ...remaining('container', containers, (name) => BESIDE.has(name) || isThere(name)),
    ...records.flatMap((id) => {
      const { name } = jsonOf(join(containers, id, 'container.json')) ?? {}
      return named.get(name) === id ? [] : [`container ${id} has lost its name ${name}`]
    }),
    ...[...named].flatMap(([name, id]) => {
      const own = jsonOf(join(containers, `${id}`, 'container.json'))?.name === name
      if (own || there.leavesName?.(id)) return []
      return [`the name ${name} leads to the container ${id}, which is not called so`]
    }),
    ...list(join(containers, 'ids'))
      .filter((range) => !isThere(jsonOf(join(containers, 'ids', range))?.id))
      .map((range) => `range of ids ${range}`),
    ...networks
      .filter(({ name }) => !there.networks(name.replace('.json', '')))
      .map(({ name }) => `network: ${name}`),
    ...list(join(runRoot, 'networks')).flatMap((entry) => {
      const known = networks.some(({ id }) => id === entry.replace('.lock', ''))
      if (!known) return [`run of a network: ${entry}`]
      return entry.endsWith('.lock') ? [] : members(join(runRoot, 'networks', entry), isThere)
    }),
    ...remaining('volume', join(root, 'volumes'), (name) => there.volumes(name)),
    ...list(join(root, 'volumes')).flatMap((name) =>
      remaining(`user of the volume ${name}`, join(root, 'volumes', name, 'users'), isThere),
    ),
  ]
}

const BESIDE = new Set(['names', 'names.lock', 'ids'])

/** What a network's run says of containers that are not there. */
function members(run, isThere) {
  // A temporary one is overwritten, or goes with the container.
  const known = (name) => name === 'host' || isThere(name.replace(/^\./, ''))
  const addresses = list(join(run, 'addresses')).filter((address) => {
    const [container] = textOf(join(run, 'addresses', address)).split('\n')
    return !isThere(container)
  })
  return [
    ...addresses.map((address) => `address ${address}`),
    ...remaining('undoing of ports', join(run, 'undo'), known),
    ...remaining('addresses by name', join(run, 'endpoints'), known),
    ...list(join(run, 'names')).flatMap((name) => {
      const holders = list(join(run, 'names', name))
      if (holders.length === 0) return [`name without anybody: ${name}`]
      return holders.filter((id) => !known(id)).map((id) => `name ${name} of ${id}`)
    }),
  ]
}

/** Records that were not written to their end, wherever they are. */
function temporaries(root) {
  return readdirSync(root, { recursive: true })
    .filter((path) => path.endsWith('.tmp'))
    .map((path) => `half record ${path}`)
}

async function blobs(content) {
  const found = []
  for (const algorithm of ['sha256', 'sha512']) {
    const directory = join(content, 'blobs', algorithm)
    for (const name of list(directory)) {
      const hash = createHash(algorithm)
      await pipeline(createReadStream(join(directory, name)), hash)
      if (hash.digest('hex') !== name) found.push(`blob ${algorithm}:${name} is something else`)
    }
  }
  return found
}

function references(content) {
  const index = JSON.parse(readFileSync(join(content, 'index.json'), 'utf8'))
  const path = (digest) => join(content, 'blobs', ...digest.split(':'))
  return index.manifests.flatMap(({ digest }) => {
    if (!existsSync(path(digest))) return [`index.json names ${digest}, which is not there`]
    const { config, layers } = JSON.parse(readFileSync(path(digest), 'utf8'))
    return [config, ...layers]
      .filter((each) => !existsSync(path(each.digest)))
      .map((each) => `image ${digest} lacks ${each.digest}`)
  })
}

function remaining(what, directory, expected) {
  return list(directory)
    .filter((name) => !expected(name))
    .map((name) => `${what}: ${name}`)
}

function journal(directory) {
  return list(directory).flatMap((segment) => {
    const lines = readFileSync(join(directory, segment), 'utf8').split('\n')
    const torn = lines.filter(
      (line, n) => !isJson(line) && !(line === '' && n === lines.length - 1),
    )
    return torn.map((line) => `the journal has a torn line: ${line}`)
  })
}

function isJson(text) {
  try {
    return typeof JSON.parse(text) === 'object'
  } catch {
    return false
  }
}

/** Of a driver: writable layers of nobody, half and removed snapshots. The bystander's engine has a directory of its own. */
function snapshots(directory, spared) {
  return list(directory).flatMap((driver) => {
    const place = (...names) => join(directory, driver, ...names)
    return [
      ...list(place('writable')).flatMap((engine) =>
        list(place('writable', engine))
          .filter((name) => name !== 'lock' && !spared(name) && !name.startsWith('spare-'))
          .map((name) => `writable layer ${name}`),
      ),
      ...list(place('writable'))
        .slice(1)
        .map((engine) => `writable layers ${engine}`),
      ...remaining('writable layer', place('containers'), spared),
      ...remaining('half snapshot', place('unpacking'), () => false),
      ...remaining('removed snapshot', place('removed'), () => false),
    ]
  })
}

function jsonOf(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

function textOf(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function list(directory) {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
