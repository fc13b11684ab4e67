import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Owned } from '../scripts/owned.mjs'
import { alternate, print } from './measure.mjs'
import { promise } from './promise.mjs'
import { Engine } from '../dist/index.js'
import { Registry } from '../dist/registry-server/index.js'

/** What a 200 MB gzip layer is made of: this host's own programs and libraries. */
const CONTENT = ['usr/lib', 'usr/share', 'usr/bin']
const WANTED = 640 * 1024 * 1024

/** Pull and unpack of one large layer from loopback, against `curl | tar xz`. */
export async function bench() {
  const directory = mkdtempSync('/var/tmp/keelson-bench-')
  const owned = new Owned()
  try {
    const archive = join(directory, 'layer.tar')
    execFileSync('sh', [
      '-c',
      `tar -C / -cf - ${CONTENT.join(' ')} | head -c ${WANTED} > ${archive}; tar -tf ${archive} >/dev/null 2>&1 || true`,
    ])
    const tree = join(directory, 'tree')
    mkdirSync(tree)
    execFileSync('sh', ['-c', `tar -C ${tree} -xf ${archive} 2>/dev/null || true; rm ${archive}`])
    const engine = owned.own(
      await Engine.open({
        root: join(directory, 'source'),
        runRoot: join(directory, 'source-run'),
      }),
    )
    const image = await engine.images.from(
      { '/tree': tree },
      {},
      { reference: 'bench.invalid/large:1', compression: 'gzip' },
    )
    const registry = owned.own(
      await Registry.listen({ layout: join(directory, 'source', 'content') }),
    )
    const [layer] = (await image.inspect()).layers
    const url = `http://${registry.host}/v2/large/blobs/${layer.digest}`
    let turn = 0
    const results = await alternate(
      [
        {
          name: 'curl | tar xz',
          once: async () => {
            const target = join(directory, `tar-${turn++}`)
            mkdirSync(target)
            const start = performance.now()
            execFileSync('sh', ['-c', `curl -s ${url} | tar -C ${target} -xz`])
            const took = performance.now() - start
            rmSync(target, { recursive: true })
            return took
          },
        },
        {
          name: 'keelson pull',
          once: async () => {
            const root = join(directory, `pull-${turn++}`)
            const puller = await Engine.open({ root, runRoot: `${root}-run` })
            const start = performance.now()
            await puller.images.pull(`${registry.host}/large:1`)
            const took = performance.now() - start
            await puller.close()
            rmSync(root, { recursive: true })
            return took
          },
        },
      ],
      { rounds: 3, warmup: 1 },
    )
    print(`pull and unpack, one layer of ${(layer.size / 1e6).toFixed(0)} MB`, results)
    promise(
      'pull and unpack',
      results.get('keelson pull').median / results.get('curl | tar xz').median,
      1,
      'times curl | tar xz',
    )
  } finally {
    await owned.dispose()
    rmSync(directory, { recursive: true, force: true })
  }
}
