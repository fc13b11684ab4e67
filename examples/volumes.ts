// A volume that two containers share, its backup in a file, and a copy of it restored from that.
import { createReadStream, createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { Engine } from 'keelson'

await using engine = await Engine.open()
const image = await engine.images.fromHost(['sh', 'cat'])
const write = ['sh', '-c', 'echo hello > /data/words']

await engine.run(image, write, { mounts: ['words:/data'] })
const words = await engine.volumes.get('words')
await pipeline(words.export(), createWriteStream('backup.tar'))
await words.remove()

const restored = await engine.volumes.create({ name: 'restored' })
await restored.import(createReadStream('backup.tar'))
const { stdout } = await engine.run(image, ['cat', '/data/words'], {
  mounts: ['restored:/data:ro'],
})
console.log(stdout)
await restored.remove()
