import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename } from 'node:path'
import { run } from './process.ts'

/** An npm registry on loopback. */
export interface NpmRegistry extends AsyncDisposable {
  readonly url: string
}

/**
 * Serves package tarballs as an npm registry does, so that npm chooses among optional dependencies as it does for users.
 *
 * @param tarballs as `npm pack` wrote them
 */
export async function npmRegistry(tarballs: string[]): Promise<NpmRegistry> {
  const packages = new Map(
    await Promise.all(tarballs.map(async (path) => [basename(path), await packed(path)] as const)),
  )
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '').slice(1)
    const tarball = packages.get(path.replace('tarballs/', ''))
    if (tarball !== undefined) return response.end(tarball.bytes)
    const listed = [...packages].filter(([, { manifest }]) => manifest.name === path)
    if (listed.length === 0) return response.writeHead(404).end('{}')
    return response.end(JSON.stringify(packument(path, listed, `http://${request.headers.host}`)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    [Symbol.asyncDispose]: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

interface Packed {
  bytes: Buffer
  manifest: { name: string; version: string }
}

async function packed(path: string): Promise<Packed> {
  const { stdout } = await run('tar', ['-xzOf', path, 'package/package.json'])
  return { bytes: await readFile(path), manifest: JSON.parse(stdout) as Packed['manifest'] }
}

/** What a registry says of a package: every version with the place and hash of its tarball. */
function packument(name: string, listed: [string, Packed][], url: string): object {
  const versions = listed.map(([file, { bytes, manifest }]) => {
    const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`
    return [
      manifest.version,
      { ...manifest, dist: { tarball: `${url}/tarballs/${file}`, integrity } },
    ]
  })
  return {
    name,
    versions: Object.fromEntries(versions),
    'dist-tags': { latest: versions.at(-1)?.[0] },
  }
}
