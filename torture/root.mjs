import { createHash } from 'node:crypto'
import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

/**
 * What is wrong below an engine's two directories while no engine is open there, one sentence each: blobs that are not what their names
 * say, names without content, directories of containers and networks that are no more, torn lines of the journal.
 *
 * @param {string} root
 * @param {string} runRoot
 */
export async function wrong(root, runRoot) {
  return [
    ...(await blobs(join(root, 'content'))),
    ...names(join(root, 'content')),
    ...remaining('directory of an engine', join(runRoot, 'engines')),
    ...remaining('container', join(root, 'containers'), ['names', 'names.lock', 'ids']),
    ...remaining('run of a container', join(runRoot, 'containers')),
    ...remaining('network', join(root, 'networks')),
    ...remaining('run of a network', join(runRoot, 'networks')),
    ...journal(join(runRoot, 'events')),
    ...writableLayers(join(root, 'snapshots')),
  ]
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

function names(content) {
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

function remaining(what, directory, expected = []) {
  return list(directory)
    .filter((name) => !expected.includes(name))
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

function writableLayers(snapshots) {
  return list(snapshots).flatMap((driver) =>
    list(join(snapshots, driver, 'writable')).map((name) => `writable layers ${driver}/${name}`),
  )
}

function list(directory) {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
