import { once } from 'node:events'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'

/** Few, so that programs want the same. */
const NAMES = ['ada', 'ben', 'cyd', 'dan']

/** Each line is known from its two ends, so that half of one shows. */
const COUNT = 'i=0; while [ $i -lt $N ]; do i=$((i+1)); echo "line $i end"; sleep 0.005; done'

const LISTEN = ['/bin/busybox', 'nc', '-l', '-p', '7000']

/** What a victim's patience with one thing is. */
const PATIENCE_MS = 300
const soon = () => ({ signal: AbortSignal.timeout(PATIENCE_MS) })

/** Containers that come, go and are entered: those of this program and those that it finds. */
export function containerWork({ engine, reference, below, pick, some, network, mounts }) {
  const onSome = (work) => async () => {
    const container = await some()
    try {
      if (container !== undefined) await work(container)
    } catch (error) {
      // One that is being removed has no files any more: then this throws.
      if (error.code === 'KEELSON_FILE_NOT_FOUND') await container.state()
      throw error
    }
  }
  const options = () => {
    const autoRemove = below(4) === 0
    return {
      image: reference,
      command: [
        '/bin/sh',
        '-c',
        `${below(2) ? "trap 'exit 0' TERM; " : ''}${COUNT}; exit ${below(2)}`,
      ],
      env: { N: pick(['5', '20', '100000']) },
      detached: below(2) === 0,
      autoRemove,
      stopTimeout: pick([0, 20]),
      ...(below(3) === 0 && { name: pick(NAMES) }),
      ...(!autoRemove && { restart: pick(['no', 'on-failure:3', 'always', 'unless-stopped']) }),
      ...(below(4) === 0 && { tty: true }),
      ...(below(4) === 0 && { logs: { maxSize: '64k', maxFiles: 2 } }),
      ...(below(4) === 0 && { memory: '64m' }),
      ...(below(4) === 0 && {
        healthcheck: { test: ['CMD', '/bin/busybox', 'true'], interval: 20, onFailure: 'restart' },
      }),
      ...(below(3) === 0 && network()),
      ...(below(4) === 0 ? mounts() : below(4) === 0 && users()),
    }
  }

  const users = () => {
    const mapped = [{ type: 'bind', source: '/usr/share', target: '/mnt', idmap: true }]
    return { userns: 'auto', ...(below(2) === 0 && { mounts: mapped }) }
  }

  return {
    create: () => engine.containers.create(options()),
    containerRun: () => engine.containers.run(options()),
    start: onSome((container) => container.start(soon())),
    stop: onSome((container) => container.stop(soon())),
    kill: onSome((container) => container.kill(pick(['SIGKILL', 'SIGTERM', 'SIGUSR1']))),
    restart: onSome((container) => container.restart(soon())),
    pause: onSome(async (container) => {
      await container.pause(soon())
      if (below(2)) await container.unpause(soon())
    }),
    unpause: onSome((container) => container.unpause(soon())),
    rename: onSome((container) => container.rename(pick([...NAMES, `eve${below(1000)}`]))),
    update: onSome((container) => container.update({ memory: '96m', restart: 'no' })),
    removeContainer: onSome((container) =>
      container.remove({ force: below(2) === 0, volumes: below(2) === 0 }),
    ),
    list: async () => {
      for (const container of await engine.containers.list({ all: true })) await container.state()
    },
    pruneContainers: () => engine.containers.prune(),
    exec: onSome((container) => container.exec(['/bin/busybox', 'true'], soon())),
    execSleep: onSome((container) =>
      container.exec(['/bin/sleep', '60'], { timeout: 1 + below(40), reject: false }),
    ),
    spawn: onSome(async (container) => {
      const shell = await container.spawn(['/bin/sh'], { tty: below(2) === 0, ...soon() })
      shell.stdin.write('echo hello\n')
      await Promise.race([once(shell.stdout, 'data'), shell.wait()])
      await shell.kill('SIGKILL')
      await shell.wait()
    }),
    logs: onSome(async (container) => {
      let left = 20
      for await (const _ of container.logs({ follow: below(2) === 0, ...soon() }))
        if (left-- === 0) break
    }),
    attach: onSome(async (container) => {
      const attachment = await container.attach(soon())
      await Promise.race([once(attachment.stdout, 'data'), attachment.closed])
      attachment.detach()
    }),
    connect: onSome(async (container) => {
      container.exec(LISTEN, { timeout: 200 }).catch(() => {})
      const socket = await container.connect(7000, soon())
      socket.on('error', () => {}).end('hello')
    }),
    lookUp: onSome((container) =>
      container.exec(['/bin/busybox', 'nslookup', pick(NAMES)], { timeout: 200, reject: false }),
    ),
    wait: onSome((container) => container.wait(soon())),
    commit: onSome((container) => container.commit(soon())),
    copyIn: onSome((container) =>
      container.copyIn(Readable.from([Buffer.alloc(1024)]), '/tmp', soon()),
    ),
    writeFile: onSome((container) => container.files.writeFile('/tmp/file', Buffer.alloc(20_000))),
    copyOut: onSome((container) => text(container.copyOut('/bin', soon()))),
    diff: onSome((container) => container.diff(soon())),
    events: async () => {
      for await (const _ of engine.events({ since: '1m', until: new Date() }));
    },
  }
}
