// What a container writes, line by line, while it writes it.
import { Engine } from 'keelson'

const script = `
  for part in 1 2 3; do echo "part $part"; sleep 0.1; done
  echo "no part 4" >&2
  exit 1
`

await using engine = await Engine.open()
const image = await engine.images.fromHost(['sh', 'sleep'])
await using job = await engine.containers.run({ image, command: ['sh', '-c', script] })
for await (const { time, stream, text } of job.logs({ follow: true })) {
  console.log(time.toISOString(), stream, text)
}
const { exitCode } = await job.wait()
console.log('exit code', exitCode)
