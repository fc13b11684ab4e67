// Files into a container and out of it, what it changed, and an image of that.
import { Engine } from 'keelson'

await using engine = await Engine.open()
await using container = await engine.containers.create({
  image: await engine.images.fromHost(['sh', 'cat', 'tr']),
  command: ['sh', '-c', 'tr a-z A-Z < /data/in > /data/out'],
})
await container.copyIn({ in: Buffer.from('hello\n') }, '/data', { uid: 1000, gid: 1000 })
await container.start()
await container.wait()

console.log(await container.files.readFile('/data/out', 'utf8'))
await container.copyOut('/data/.', 'copy')
for (const { kind, path } of await container.diff()) console.log(kind, path)

const image = await container.commit({ changes: { Cmd: ['cat', '/data/out'] } })
const { stdout } = await engine.run(image)
console.log(stdout)
