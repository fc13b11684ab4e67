import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { Index } from '../../src/oci/manifest.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import {
  formatPlatform,
  hostPlatform,
  normalizePlatform,
  parsePlatform,
  platformRuns,
  type Platform,
} from '../../src/oci/platform.ts'
import { selectPlatform } from '../../src/oci/select-platform.ts'

const plain = (text: string): Platform => {
  const [os = '', architecture = '', variant] = text.split('/')
  return { os, architecture, ...(variant !== undefined && { variant }) }
}

function indexOf(...platforms: (Platform | string | undefined)[]): Index {
  const manifests = platforms.map((platform, at): Descriptor => {
    const given = typeof platform === 'string' ? plain(platform) : platform
    return {
      mediaType: MEDIA_TYPES.ociManifest,
      digest: digestOf(`${at}`),
      size: 1,
      ...(given !== undefined && { platform: given }),
    }
  })
  return { kind: 'index', mediaType: MEDIA_TYPES.ociIndex, manifests }
}

const chosen = (index: Index, wanted: Platform) => {
  const { platform } = selectPlatform(index, wanted)
  return platform === undefined ? undefined : formatPlatform(platform)
}

describe('platforms', () => {
  test.each([
    ['linux/x86_64', 'linux/amd64'],
    ['linux/x86-64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['Linux/AMD64/V3', 'linux/amd64/v3'],
    ['linux/aarch64', 'linux/arm64/v8'],
    ['linux/arm64/8', 'linux/arm64/v8'],
    ['linux/arm64/v9.0', 'linux/arm64/v9'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['linux/i386', 'linux/386'],
    ['macos/arm64', 'darwin/arm64/v8'],
    ['riscv64', 'linux/riscv64'],
    ['arm64', 'linux/arm64/v8'],
  ])('%s is %s', (text, expected) => {
    expect(formatPlatform(parsePlatform(text))).toBe(expected)
  })

  test.each(['', '/', 'linux', 'windows', 'linux/', 'a/b/c/d', 'linux/a b', 'linux/amd64\n'])(
    '%j is refused',
    (text) => {
      expect(() => parsePlatform(text)).toThrow(
        expect.objectContaining({ code: 'KEELSON_INVALID_PLATFORM', hint: expect.any(String) }),
      )
    },
  )

  test('that of this process is one that images have', () => {
    expect(hostPlatform().os).toBe(process.platform)
    expect(['amd64', 'arm64', 'arm', '386', 'riscv64', 'ppc64le', 's390x', 'loong64']).toContain(
      hostPlatform().architecture,
    )
  })

  test('normalising twice is normalising once', () => {
    const word = fc.constantFrom(
      'arm',
      'arm64',
      'amd64',
      'x86_64',
      'i386',
      '',
      'v1',
      'V8',
      '8',
      'v9.0',
      '5',
      'linux',
    )
    fc.assert(
      fc.property(word, word, fc.option(word, { nil: undefined }), (os, architecture, variant) => {
        const once = normalizePlatform({
          os,
          architecture,
          ...(variant !== undefined && { variant }),
        })
        expect(normalizePlatform(once)).toEqual(once)
      }),
    )
  })
})

describe('the choice from an index', () => {
  test.each([
    ['linux/amd64', ['linux/arm64', 'linux/amd64'], 'linux/amd64'],
    ['linux/amd64', ['linux/amd64/v3', 'linux/amd64'], 'linux/amd64'],
    ['linux/amd64/v3', ['linux/amd64', 'linux/amd64/v2', 'linux/amd64/v4'], 'linux/amd64/v2'],
    ['linux/amd64/v4', ['linux/amd64', 'linux/amd64/v3'], 'linux/amd64/v3'],
    ['linux/amd64', ['linux/386', 'linux/arm64'], 'linux/386'],
    ['linux/arm/v7', ['linux/arm/v5', 'linux/arm/v6'], 'linux/arm/v6'],
    ['linux/arm', ['linux/arm/v5', 'linux/arm'], 'linux/arm'],
    ['linux/arm64', ['linux/arm64/v8', 'linux/arm64'], 'linux/arm64/v8'],
    ['linux/arm64', ['linux/arm/v7', 'linux/arm/v8'], 'linux/arm/v8'],
    ['linux/arm64/v9', ['linux/arm64', 'linux/arm64/v8.5'], 'linux/arm64/v8.5'],
    ['linux/aarch64', ['linux/arm64'], 'linux/arm64'],
    ['linux/riscv64', ['linux/amd64', 'linux/riscv64'], 'linux/riscv64'],
  ])('for %s of %j is %s', (wanted, there, expected) => {
    expect(chosen(indexOf(...there), plain(wanted))).toBe(expected)
  })

  test.each([
    ['linux/arm/v6', ['linux/arm/v7']],
    ['linux/amd64', ['linux/amd64/v2']],
    ['linux/386', ['linux/amd64']],
    ['linux/amd64', ['windows/amd64', 'linux/arm64']],
    ['linux/amd64', []],
  ])('for %s of %j fails and says what there is', (wanted, there) => {
    expect(() => selectPlatform(indexOf(...there), plain(wanted))).toThrow(
      expect.objectContaining({
        code: 'KEELSON_PLATFORM_NOT_FOUND',
        available: there,
        hint: expect.stringContaining(there[0] ?? 'no platform'),
      }),
    )
  })

  test('takes the first of two equals, and one without a platform only at last', () => {
    const index = indexOf(undefined, 'linux/386', 'linux/amd64', 'linux/amd64')
    expect(selectPlatform(index, plain('linux/amd64'))).toBe(index.manifests[2])
    expect(selectPlatform(index, plain('linux/386'))).toBe(index.manifests[1])
    expect(selectPlatform(index, plain('linux/s390x'))).toBe(index.manifests[0])
  })

  test('never takes an attestation', () => {
    const index = indexOf('unknown/unknown', undefined)
    const attested: Index = {
      ...index,
      manifests: index.manifests.map((each) => ({
        ...each,
        annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
      })),
    }
    expect(() => selectPlatform(attested, plain('linux/amd64'))).toThrow(/not made for/)
  })

  test('respects os.version and os.features', () => {
    const windows = (version: string): Platform => ({
      ...plain('windows/amd64'),
      'os.version': version,
    })
    const index = indexOf(windows('10.0.1'), windows('10.0.2'))
    expect(selectPlatform(index, windows('10.0.2')).platform).toEqual(windows('10.0.2'))
    expect(selectPlatform(index, plain('windows/amd64')).platform).toEqual(windows('10.0.1'))
    const special: Platform = { ...plain('linux/amd64'), 'os.features': ['erofs'] }
    expect(platformRuns(special, plain('linux/amd64'))).toBe(false)
    expect(platformRuns(special, special)).toBe(true)
  })

  test('does not depend on the order of different platforms', () => {
    const platform = fc.constantFrom(
      'linux/amd64',
      'linux/amd64/v2',
      'linux/amd64/v3',
      'linux/386',
      'linux/arm/v7',
      'linux/arm64',
    )
    fc.assert(
      fc.property(fc.uniqueArray(platform, { minLength: 1 }), platform, (there, wanted) => {
        const pick = (order: string[]) => {
          try {
            return chosen(indexOf(...order), plain(wanted))
          } catch {
            return undefined
          }
        }
        expect(pick(there)).toBe(pick(there.toReversed()))
      }),
    )
  })
})
