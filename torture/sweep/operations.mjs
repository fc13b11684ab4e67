import { once } from 'node:events'
import { wait } from '../../dist/index.js'

/** Ends by itself only when it is told to. */
const SLEEP = ['/bin/sh', '-c', "trap 'exit 0' TERM; while :; do sleep 0.05; done"]
const LISTEN = ['/bin/busybox', 'nc', '-ll', '-p', '7000', '-e', '/bin/busybox', 'true']

const detached = (reference, options = {}) => {
  return { image: reference, command: SLEEP, detached: true, stopTimeout: 50, ...options }
}
const everything = {
  networks: [{ network: 'red', aliases: ['web'] }, 'green'],
  ports: ['8080:80', '81'],
  mounts: ['data:/bin', { type: 'volume', target: '/anonymous' }],
}
const networks = async (engine) => {
  await engine.networks.create({ name: 'red' })
  await engine.networks.create({ name: 'green', ipv6: true })
}

/**
 * What is struck at each of its steps, from the first on: `act`, after `prepare` in the same program. What each leaves when nothing strikes
 * is for the check afterwards to remove.
 *
 * @type {Record<string, { prepare?: (context: any) => Promise<any>, act: (context: any, state: any) => Promise<any>, strikes: string[] }>}
 */
export const OPERATIONS = {
  run: {
    prepare: ({ engine }) => networks(engine),
    act: ({ engine, reference }) =>
      engine.run(reference, ['/bin/busybox', 'true'], { ...everything, storage: 'tmpfs' }),
    strikes: ['node', 'launcher', 'all'],
  },
  create: {
    prepare: ({ engine }) => networks(engine),
    act: ({ engine, reference }) =>
      engine.containers.create(detached(reference, { name: 'ada', ...everything })),
    strikes: ['node', 'launcher'],
  },
  createBound: {
    act: ({ engine, reference }) =>
      engine.containers.create({
        image: reference,
        command: SLEEP,
        name: 'ada',
        userns: 'auto',
      }),
    strikes: ['node', 'launcher'],
  },
  start: {
    prepare: async ({ engine, reference }) => {
      await networks(engine)
      const mounts = [...everything.mounts, { type: 'image', source: reference, target: '/image' }]
      return await engine.containers.create(
        detached(reference, { name: 'ada', ...everything, mounts }),
      )
    },
    act: (_, container) => container.start(),
    strikes: ['node', 'launcher', 'monitor', 'all'],
  },
  startWithUsers: {
    prepare: ({ engine, reference }) =>
      engine.containers.create(
        detached(reference, {
          userns: 'auto',
          mounts: [{ type: 'bind', source: '/usr/share', target: '/mnt', idmap: true }],
        }),
      ),
    act: (_, container) => container.start(),
    strikes: ['node', 'monitor', 'all'],
  },
  startBound: {
    prepare: async ({ engine, reference }) => {
      await networks(engine)
      return await engine.containers.create({
        image: reference,
        command: SLEEP,
        ...everything,
        autoRemove: true,
      })
    },
    act: (_, container) => container.start(),
    strikes: ['node', 'launcher', 'monitor', 'all'],
  },
  stop: {
    prepare: async ({ engine, reference }) => {
      await networks(engine)
      return await engine.containers.run(detached(reference, { restart: 'always', ...everything }))
    },
    act: (_, container) => container.stop(),
    strikes: ['node', 'launcher', 'monitor', 'all'],
  },
  restart: {
    prepare: async ({ engine, reference }) => {
      await networks(engine)
      return await engine.containers.run(detached(reference, { restart: 'always', ...everything }))
    },
    act: (_, container) => container.restart(),
    strikes: ['node', 'monitor', 'all'],
  },
  remove: {
    prepare: async ({ engine, reference }) => {
      await networks(engine)
      return await engine.containers.run(detached(reference, { userns: 'auto', ...everything }))
    },
    act: (_, container) => container.remove({ force: true, volumes: true }),
    strikes: ['node', 'launcher', 'monitor', 'all'],
  },
  rename: {
    prepare: async ({ engine, reference }) => {
      await networks(engine)
      return await engine.containers.run(detached(reference, { name: 'ada', ...everything }))
    },
    act: (_, container) => container.rename('bob'),
    strikes: ['node', 'launcher', 'all'],
  },
  update: {
    prepare: ({ engine, reference }) => engine.containers.run(detached(reference)),
    act: (_, container) => container.update({ memory: '64m', restart: 'always' }),
    strikes: ['node', 'monitor'],
  },
  exec: {
    prepare: ({ engine, reference }) => engine.containers.run(detached(reference)),
    act: async (_, container) => {
      const shell = await container.spawn(['/bin/sh'], { tty: true })
      shell.stdin.write('exit\n')
      await shell.wait()
    },
    strikes: ['node', 'launcher', 'monitor', 'all'],
  },
  connect: {
    prepare: async ({ engine, reference }) => {
      const container = await engine.containers.run(detached(reference, { command: LISTEN }))
      await container.ready(wait.port(7000))
      return container
    },
    act: async (_, container) => {
      const socket = await container.connect(7000)
      socket.resume().end()
      await once(socket, 'close')
    },
    strikes: ['node', 'launcher', 'monitor'],
  },
  createNetwork: {
    act: ({ engine }) => engine.networks.create({ name: 'red', ipv6: true }),
    strikes: ['node', 'launcher'],
  },
  removeNetwork: {
    prepare: async ({ engine, reference }) => {
      const network = await engine.networks.create({ name: 'red', ipv6: true })
      await engine.run(reference, ['/bin/busybox', 'true'], { networks: 'red', ports: ['8080:80'] })
      return network
    },
    act: (_, network) => network.remove(),
    strikes: ['node', 'launcher', 'all'],
  },
  pruneNetworks: {
    prepare: async ({ engine, reference }) => {
      await networks(engine)
      await engine.run(reference, ['/bin/busybox', 'true'], everything)
    },
    act: ({ engine }) => engine.networks.prune(),
    strikes: ['node', 'launcher'],
  },
  createVolume: {
    act: ({ engine }) => engine.volumes.create({ name: 'data', labels: { a: 'b' } }),
    strikes: ['node', 'launcher', 'all'],
  },
  removeVolume: {
    prepare: async ({ engine, reference }) => {
      await engine.run(reference, ['/bin/busybox', 'true'], { mounts: ['data:/bin'] })
      return await engine.volumes.get('data')
    },
    act: (_, volume) => volume.remove(),
    strikes: ['node', 'launcher', 'all'],
  },
  cloneVolume: {
    prepare: async ({ engine, reference }) => {
      await engine.run(reference, ['/bin/busybox', 'true'], { mounts: ['data:/bin'] })
      return await engine.volumes.get('data')
    },
    act: (_, volume) => volume.clone('copy'),
    strikes: ['node', 'launcher', 'all'],
  },
  commit: {
    prepare: ({ engine, reference }) =>
      engine.containers.run(
        detached(reference, {
          command: ['/bin/sh', '-c', 'echo changed > /tmp/file; exec sleep 60'],
        }),
      ),
    act: (_, container) => container.commit({ reference: 'localhost/committed:1' }),
    strikes: ['node', 'launcher', 'monitor', 'all'],
  },
  pull: {
    prepare: async ({ engine, reference }) => {
      await (await engine.images.get(reference)).remove()
      await engine.images.prune()
    },
    act: ({ engine, reference }) => engine.images.pull(reference),
    strikes: ['node', 'launcher', 'all'],
  },
  removeImage: {
    act: async ({ engine, reference }) => {
      await (await engine.images.get(reference)).remove()
      await engine.images.prune()
    },
    strikes: ['node', 'launcher', 'all'],
  },
  close: {
    prepare: async ({ engine, reference }) => {
      await networks(engine)
      await engine.containers.run({ image: reference, command: SLEEP, ...everything })
      await engine.containers.create({ image: reference, command: SLEEP, networks: 'red' })
    },
    act: ({ engine }) => engine.close(),
    strikes: ['node', 'launcher', 'monitor', 'all'],
  },
}
