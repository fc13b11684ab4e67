// A shell in a container, on this terminal: node shell.js docker.io/library/alpine:3.22
import { Engine } from 'keelson'

const { stdin, stdout } = process

await using engine = await Engine.open()
await using container = await engine.containers.create({
  image: process.argv[2] ?? 'docker.io/library/alpine:3.22',
  command: ['sh'],
  tty: true,
  stdin: true,
})
await using terminal = await container.attach()
await container.start()

stdout.on('resize', () => void terminal.resize(stdout))
await terminal.resize(stdout)
stdin.setRawMode(true)
stdin.pipe(terminal.stdin)
terminal.stdout.pipe(stdout)

const detached = await terminal.closed
stdin.setRawMode(false).destroy()
if (!detached) process.exitCode = (await container.wait()).exitCode ?? 1
