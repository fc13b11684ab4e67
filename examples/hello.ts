// The ten lines of the README, on an image assembled from this host's own programs.
import { Engine } from 'keelson'

await using engine = await Engine.open()
const image = await engine.images.fromHost(['echo'])
const { stdout, exitCode } = await engine.run(image, ['echo', 'hello'])
console.log(stdout.trim(), exitCode) // hello 0
