import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { findDockerNetwork } from './docker-network.mjs'
import { alternate, print, summary, timed } from './measure.mjs'
import { promise } from './promise.mjs'
import { onScene, TRUE } from './scene.mjs'

const BATCH = 5
const PORT = 5000
const PINGS = 2000
const BYTES = 400_000_000

/** Containers on a network: how long a run takes, and how fast what they say to one another and to the host arrives. */
export async function bench({ long }) {
  await onScene((scene) => runs(scene, long ? 120 : 30))
  await onScene((scene) => wires(scene, long ? 9 : 3))
}

async function runs(scene, rounds) {
  const engine = await scene.engine('root')
  const image = await scene.image(engine)
  const network = await engine.networks.create({ name: 'bench' })
  try {
    const run = () => engine.run(image, TRUE, { networks: 'bench' })
    const sides = [
      { name: 'floor, no network', once: async () => scene.floor(BATCH) },
      {
        name: 'keelson',
        once: async () => {
          const times = []
          for (let n = 0; n < BATCH; n++) times.push(await timed(run))
          return times
        },
      },
    ]
    const results = await alternate(sides, { rounds })
    print(`run true to exit on a bridge network (${BATCH} and ${BATCH} in turn)`, results)
    const [floor, keelson] = [results.get('floor, no network'), results.get('keelson')]
    promise('run on a bridge, least of times', keelson.min / floor.min, 3, 'times the floor')
    promise('run on a bridge', keelson.median / floor.median, 3, 'times the floor')
  } finally {
    await network.remove()
  }
}

/** Alternating, as everything here: each side in turn, several times. */
async function wires(scene, rounds) {
  const program = compile(scene)
  const sides = [await hostSide(scene, program), ...(await keelsonSides(scene, program))]
  const docker = await findDockerNetwork(scene, program, PORT)
  sides.push(...docker.sides)
  try {
    const [streams, pings] = [new Map(), new Map()]
    for (let round = 0; round < rounds; round++) {
      for (const side of sides) {
        collect(streams, side.name, [await side.stream(BYTES)])
        collect(pings, side.name, await side.ping(PINGS))
      }
    }
    console.log(`\nthroughput of one TCP connection${' '.repeat(14)}median   greatest`)
    for (const [name, values] of streams) {
      const [median, most] = [summary(values).median, Math.max(...values)]
      console.log(`  ${name.padEnd(38)} ${cell(median)} ${cell(most)} MB/s`)
    }
    console.log(`\none byte there and back${' '.repeat(23)}median      tenth      least`)
    for (const [name, values] of pings) {
      const { median, tenth, min } = summary(values)
      console.log(`  ${name.padEnd(38)} ${cell(median)} ${cell(tenth)} ${cell(min)} us`)
    }
  } finally {
    await docker.forget()
  }
}

function collect(all, name, values) {
  all.set(name, [...(all.get(name) ?? []), ...values])
}

const anyPort = () => 20_000 + Math.floor(Math.random() * 10_000)
const cell = (value) => value.toFixed(1).padStart(10)
const numbers = (text) => text.trim().split('\n').map(Number)

/** On loopback: what the machine can do without anything between. */
async function hostSide(scene, program) {
  const port = anyPort()
  const server = spawn(program, ['serve', `${port}`], { stdio: ['ignore', 'pipe', 'inherit'] })
  scene.owned.own({ [Symbol.asyncDispose]: async () => void server.kill() })
  await once(server.stdout, 'data')
  return { name: 'loopback of the host', ...dialled(program, '127.0.0.1', port) }
}

/** By a program on the host. */
function dialled(program, host, port) {
  const wire = (...words) => numbers(execFileSync(program, words.map(String), { encoding: 'utf8' }))
  return {
    stream: async (bytes) => wire('stream', host, port, bytes)[0],
    ping: async (count) => wire('ping', host, port, count),
  }
}

async function keelsonSides(scene, program) {
  const engine = await scene.engine('root')
  const image = await engine.images.from({ '/wire': program })
  const network = await engine.networks.create({ name: 'wires' })
  const published = anyPort()
  const start = (command, more = {}) =>
    engine.containers.run({ image, command, networks: 'wires', init: true, ...more })
  const server = await start(['/wire', 'serve', `${PORT}`], { ports: [`${published}:${PORT}`] })
  const client = await start(['/wire', 'serve', '1'])
  scene.owned.own({
    [Symbol.asyncDispose]: async () => {
      await Promise.all([server, client].map((one) => one.remove({ force: true })))
      await network.remove()
    },
  })
  const [address] = (await network.inspect()).containers[server.id].addresses
  const inside = async (...words) =>
    numbers((await client.exec(['/wire', ...words.map(String)])).stdout)
  return [
    {
      name: 'keelson: container to container',
      stream: async (bytes) => (await inside('stream', address, PORT, bytes))[0],
      ping: (count) => inside('ping', address, PORT, count),
    },
    { name: 'keelson: host to container', ...dialled(program, address, PORT) },
    { name: 'keelson: host to published port', ...dialled(program, '127.0.0.1', published) },
    { name: 'keelson: container.connect()', ...connected(server) },
  ]
}

/** By this process, through the socket that an engine gives it. */
function connected(server) {
  return {
    async stream(bytes) {
      const socket = await server.connect(PORT)
      const chunk = Buffer.alloc(256 << 10)
      const start = performance.now()
      socket.write('s')
      for (let sent = 0; sent < bytes; sent += chunk.length) {
        if (!socket.write(chunk)) await once(socket, 'drain')
      }
      socket.end()
      await once(socket, 'data')
      return bytes / 1000 / (performance.now() - start)
    },
    async ping(count) {
      const socket = await server.connect(PORT)
      socket.write('e')
      const times = []
      for (let n = 0; n < count; n++) {
        const start = performance.now()
        socket.write('!')
        await once(socket, 'data')
        times.push((performance.now() - start) * 1000)
      }
      socket.destroy()
      return times
    },
  }
}

/** Static: there is nothing else in its image. */
function compile(scene) {
  const program = join(scene.directory, 'wire')
  const source = new URL('./floor/wire.c', import.meta.url).pathname
  execFileSync('cc', ['-O2', '-static', '-o', program, source])
  return program
}
