// An image from a registry, with progress, and what is in it: node pull.js 127.0.0.1:5000/busybox:1
import { Engine } from 'keelson'

await using engine = await Engine.open()
const image = await engine.images.pull(process.argv[2] ?? 'docker.io/library/alpine:3.22', {
  onProgress: ({ layer, status }) => console.log(layer?.slice(0, 19), status),
})
console.log(`${image.references.join(' ')}: ${image.size} bytes, ${image.platform.architecture}`)
const { stdout } = await engine.run(image, ['ls', '/'])
console.log(stdout)
