import { Engine } from '../dist/index.js'

/** Of its network and its volume, and the label by which victims know its containers. */
export const NAME = 'bystander'
const REFERENCE = `localhost/${NAME}:1`
const FILE = '/data/file'
const TEXT = 'what was written before'

/**
 * A program on the same root that nobody kills, with a container of each kind on a network, with a volume, a range of ids, a published port
 * and a name: whatever others die of and whatever is swept up after them, these go on.
 */
export class Bystander {
  #engine
  #containers

  static async open(place) {
    const engine = await Engine.open(place)
    const image = await engine.images.from(
      {
        '/bin/busybox': '/bin/busybox',
        '/bin/sh': { link: 'busybox' },
        '/www/index.html': Buffer.from(TEXT),
      },
      {},
      { reference: REFERENCE },
    )
    await engine.networks.create({ name: NAME, subnets: ['10.99.0.0/24'] })
    const options = {
      image,
      command: ['/bin/busybox', 'httpd', '-f', '-p', '80', '-h', '/www'],
      labels: { [NAME]: '' },
      networks: NAME,
      mounts: [`${NAME}:/data`],
    }
    const [bound, detached] = await Promise.all([
      engine.containers.run({ ...options, name: `${NAME}-bound`, ports: ['127.0.0.1:9999:80'] }),
      engine.containers.run({ ...options, name: `${NAME}-detached`, detached: true }),
    ])
    const users = await engine.containers.run({ ...options, mounts: [], userns: 'auto' })
    await bound.files.writeFile(FILE, TEXT)
    return new Bystander(engine, [bound, detached, users])
  }

  /** @private */
  constructor(engine, containers) {
    this.#engine = engine
    this.#containers = containers
  }

  /** What others are not to touch: a container's id or name, a network's or a volume's name, an image's reference. */
  has(idOrName) {
    return (
      [NAME, REFERENCE].includes(idOrName) ||
      this.#containers.some(({ id, name }) => id === idOrName || name === idOrName)
    )
  }

  /** @returns what is not as it was, one sentence each */
  async suffered() {
    const problems = []
    for (const container of this.#containers) {
      const { status, restartCount } = await container.state()
      if (status !== 'running' || restartCount > 0) {
        problems.push(`the bystander ${container.name} is ${status}`)
      }
    }
    const [bound] = this.#containers
    const text = await bound.files.readFile(FILE, 'utf8').catch(String)
    if (text !== TEXT) problems.push(`the bystander's volume has ${text}`)
    const page = await fetch('http://127.0.0.1:9999/').then((answer) => answer.text(), String)
    if (page !== TEXT) problems.push(`the bystander's port answers ${page}`)
    const other = ['/bin/busybox', 'wget', '-qO-', `http://${NAME}-detached/`]
    const { stdout } = await bound.exec(other).catch((error) => ({ stdout: error.stack }))
    if (stdout !== TEXT) problems.push(`the bystanders hear of each other: ${stdout}`)
    return problems
  }

  async [Symbol.asyncDispose]() {
    for (const container of this.#containers) await container.remove({ force: true })
    await this.#engine.close()
  }
}
