import { describe, expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { decodeImageConfig } from '../../src/oci/image-config.ts'
import { imageSchemas } from './schemas.ts'

const DIFF_ID = digestOf('diff')
const base = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [DIFF_ID] } }
const decode = (value: unknown) => decodeImageConfig(Buffer.from(JSON.stringify(value)))
const withConfig = (config: unknown) => decode({ ...base, config }).config

describe('image configurations', () => {
  test('are read in full and stay valid by the schema', () => {
    const full = {
      ...base,
      variant: 'v3',
      'os.version': '1',
      'os.features': ['x'],
      created: '2026-01-02T03:04:05.678901234Z',
      author: 'a',
      config: {
        User: '1000:1000',
        Env: ['PATH=/bin', 'EMPTY='],
        Entrypoint: ['/entry'],
        Cmd: ['a', 'b'],
        WorkingDir: '/work',
        ExposedPorts: { '80/tcp': {} },
        Volumes: { '/data': {} },
        Labels: { a: 'b' },
        StopSignal: 'SIGINT',
        Healthcheck: { Test: ['CMD', 'true'], Interval: 30_000_000_000, Retries: 3 },
        Shell: ['/bin/sh', '-c'],
      },
      history: [
        {
          created: '2026-01-02T03:04:05Z',
          created_by: 'x',
          comment: 'y',
          author: 'z',
          empty_layer: true,
        },
      ],
    }
    const decoded = decode(full)
    expect(decoded).toEqual(full)
    const { config } = imageSchemas()
    expect(config(decoded) || config.errors).toBe(true)
  })

  test('as Docker writes them, with null for nothing and fields of its own, are read', () => {
    const decoded = decode({
      ...base,
      container: 'abc',
      docker_version: '20.10',
      container_config: { Hostname: 'x' },
      config: {
        Hostname: '',
        Domainname: '',
        AttachStdin: false,
        Tty: false,
        Image: '',
        OnBuild: null,
        User: '',
        Env: null,
        Cmd: null,
        Entrypoint: null,
        Volumes: null,
        WorkingDir: '',
        Labels: null,
        ExposedPorts: null,
      },
      history: null,
    })
    expect(decoded).toEqual({ ...base, config: { User: '', WorkingDir: '' }, history: [] })
  })

  test('without config or layers are an empty image', () => {
    expect(decode({ os: 'linux', architecture: 'arm', rootfs: { type: 'layers' } })).toEqual({
      os: 'linux',
      architecture: 'arm',
      config: {},
      rootfs: { type: 'layers', diff_ids: [] },
      history: [],
    })
  })

  test.each([
    ['no architecture', { ...base, architecture: undefined }, /'s architecture is missing/],
    ['no rootfs', { ...base, rootfs: undefined }, /'s rootfs is missing/],
    [
      'another kind of rootfs',
      { ...base, rootfs: { type: 'windows', diff_ids: [] } },
      /rootfs\.type must be "layers"/,
    ],
    [
      'a malformed diff id',
      { ...base, rootfs: { type: 'layers', diff_ids: ['x'] } },
      /rootfs\.diff_ids\[0\]/,
    ],
    [
      '513 layers',
      { ...base, rootfs: { type: 'layers', diff_ids: Array.from({ length: 513 }, () => DIFF_ID) } },
      /more than 512/,
    ],
    [
      'an Env of numbers',
      { ...base, config: { Env: [1] } },
      /config\.Env\[0\] must be a string, not 1/,
    ],
    ['NUL in Env', { ...base, config: { Env: ['A=b\0c'] } }, /config\.Env\[0\] has a NUL/],
    ['NUL in Cmd', { ...base, config: { Cmd: ['\0'] } }, /config\.Cmd\[0\] has a NUL/],
    ['NUL in User', { ...base, config: { User: 'root\0' } }, /config\.User has a NUL/],
    ['NUL in a volume', { ...base, config: { Volumes: { '/\0': {} } } }, /NUL/],
    [
      'a shell form Cmd',
      { ...base, config: { Cmd: 'sh' } },
      /config\.Cmd must be a list, not string/,
    ],
    [
      '100,000 variables',
      { ...base, config: { Env: Array.from({ length: 100_000 }, () => 'a') } },
      /more than 4096/,
    ],
    ['a list', [], /must be an object/],
  ])('with %s are refused', (_, document, message) => {
    expect(() => decode(document)).toThrow(
      expect.objectContaining({
        code: 'KEELSON_MANIFEST_INVALID',
        message: expect.stringMatching(message),
      }),
    )
  })

  test('of more than 8 MiB are refused', () => {
    expect(() => decodeImageConfig(Buffer.alloc(8 * 1024 * 1024 + 1, 0x20))).toThrow(/limit/)
  })

  test('a label __proto__ is a label', () => {
    const Labels = JSON.parse('{"__proto__":"x"}') as unknown
    expect(Object.entries(withConfig({ Labels }).Labels ?? {})).toEqual([['__proto__', 'x']])
  })
})
