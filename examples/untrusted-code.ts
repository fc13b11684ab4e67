// Code that nobody has read: limits, no network, read-only, a time limit, and a result instead of an exception.
import { Engine } from 'keelson'

const source = 'while (true) {}'

await using engine = await Engine.open()
const image = await engine.images.fromHost(['node'])
const result = await engine.run(image, ['node', '-'], {
  stdin: source,
  memory: '256m',
  cpus: 0.5,
  pids: 64,
  readonly: true,
  user: '65534:65534',
  timeout: 2_000,
  reject: false,
})
console.log(result.timedOut ? 'stopped after two seconds' : `exit code ${result.exitCode}`)
