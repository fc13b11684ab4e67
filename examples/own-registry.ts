// A registry in this process, an engine that pulls from it: a test harness needs no other host.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Engine } from 'keelson'
import { Registry } from 'keelson/registry'

const root = await mkdtemp(join(tmpdir(), 'keelson-example-'))
try {
  await using maker = await Engine.open({ root, runRoot: join(root, 'run') })
  await maker.images.fromHost(['cat'], {}, { reference: 'localhost/tools:1' })

  await using registry = await Registry.listen({ layout: join(root, 'content') })
  await using engine = await Engine.open()
  const image = await engine.images.pull(`${registry.host}/tools:1`, {
    onProgress: ({ layer, status }) => console.log(layer, status),
  })
  const { stdout } = await engine.run(image, ['cat'], { stdin: 'through a pipe\n' })
  process.stdout.write(stdout)
} finally {
  await rm(root, { recursive: true, force: true })
}
