import { onTestFinished } from 'vitest'
import { RegistryClient } from '../../src/registry/client.ts'
import type { RegistryClientOptions } from '../../src/registry/options.ts'

/** A client that knows nothing of this machine's configuration, tries again quickly, and is closed when the test ends. */
export function openClient(options: RegistryClientOptions = {}): RegistryClient {
  const client = new RegistryClient({
    env: {},
    homeDirectory: '/nonexistent',
    certificateDirectories: [],
    ...options,
    retry: { base: 1, max: 5, ...options.retry },
  })
  onTestFinished(() => client.close())
  return client
}

export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = []
  for await (const chunk of chunks) all.push(chunk)
  return Buffer.concat(all)
}
