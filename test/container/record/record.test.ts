import { describe, expect, it } from 'vitest'
import { normalizeCreateOptions } from '../../../src/container/normalize/create.ts'
import {
  decodeRecord,
  encodeRecord,
  type ContainerRecord,
} from '../../../src/container/record/record.ts'
import { parseDigest } from '../../../src/oci/digest.ts'

const digest = parseDigest(`sha256:${'1'.repeat(64)}`)
const record: ContainerRecord = {
  version: 1,
  id: 'a'.repeat(64),
  name: 'web',
  createdAt: '2026-11-24T10:00:00.000Z',
  image: {
    reference: 'alpine:3.22',
    id: digest,
    digest,
    descriptor: { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 7 },
    parameters: { Cmd: ['sh'] },
    chain: [digest],
    platform: { os: 'linux', architecture: 'amd64' },
  },
  options: normalizeCreateOptions({
    image: 'alpine:3.22',
    env: { KEPT: 'x', REMOVED: undefined, ['__proto__']: 'y' },
    memory: '64m',
    detached: true,
  }),
  labels: { a: 'b' },
  owner: { engine: '01', directory: '/run/keelson/engines/01' },
  run: '/run/keelson/containers/a',
  rootfs: { rootfs: [], remove: ['/var/lib/keelson/x'], locks: [] },
}

describe('a record', () => {
  it('is read as it was written, with the variables that are to be removed', () => {
    const read = decodeRecord(Buffer.from(encodeRecord(record)), '/x')
    expect(read).toEqual(record)
    expect('REMOVED' in read.options.env).toBe(true)
    expect(read.options.env['REMOVED']).toBeUndefined()
  })

  it.each<[string, (text: string) => string]>([
    ['cut off', (text) => text.slice(0, 100)],
    ['empty', () => ''],
    ['of another version', (text) => text.replace('"version":1', '"version":2')],
    ['with a strange id', (text) => text.replace('"id":"aaa', '"id":"../')],
    ['without a field', (text) => text.replace('"owner"', '"order"')],
    ['with a digest that is none', (text) => text.replace('"chain":["sha256:', '"chain":["md5:')],
    ['with a number for text', (text) => text.replace('"name":"web"', '"name":7')],
  ])('%s is refused', (_, damage) => {
    expect(() => decodeRecord(Buffer.from(damage(encodeRecord(record))), '/x')).toThrow(
      expect.objectContaining({ code: 'KEELSON_CONTAINER_RECORD', path: '/x' }),
    )
  })
})
