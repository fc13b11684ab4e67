import { keelsonError } from '../errors.ts'
import { printable } from '../util/printable.ts'
import type { Descriptor } from './descriptor.ts'
import type { Index } from './manifest.ts'
import { formatPlatform, platformRank, type Platform } from './platform.ts'

/**
 * The manifest of an index that suits `wanted` best: the same platform, else the nearest older variant that its processor
 * can run, else its 32-bit sibling (the order of containerd). Entries of the same rank: the first.
 * An entry without a platform is taken only when nothing else fits; the image's configuration then has to be checked.
 *
 * @throws `KEELSON_PLATFORM_NOT_FOUND` with the platforms that there are as `available`.
 */
export function selectPlatform(index: Index, wanted: Platform): Descriptor {
  let best: Descriptor | undefined
  let bestRank = Infinity
  for (const descriptor of index.manifests) {
    if (isAttestation(descriptor)) continue
    const { platform } = descriptor
    const rank = platform === undefined ? Number.MAX_VALUE : platformRank(platform, wanted)
    if (rank < bestRank) {
      best = descriptor
      bestRank = rank
    }
  }
  if (best === undefined) throw platformNotFound(index, wanted)
  return best
}

/** Build tools put provenance beside the images, under a platform that no host has. */
function isAttestation(descriptor: Descriptor): boolean {
  return (
    descriptor.platform?.os === 'unknown' ||
    descriptor.annotations?.['vnd.docker.reference.type'] === 'attestation-manifest'
  )
}

function platformNotFound(index: Index, wanted: Platform): Error {
  const available = index.manifests
    .filter((descriptor) => !isAttestation(descriptor))
    .flatMap(({ platform }) =>
      platform === undefined ? [] : [printable(formatPlatform(platform), 60)],
    )
  const name = formatPlatform(wanted)
  return keelsonError('KEELSON_PLATFORM_NOT_FOUND', `The image is not made for ${name}.`, {
    hint:
      available.length === 0
        ? 'Its index names no platform at all.'
        : `It is there for ${available.slice(0, 20).join(', ')}: choose one with the option platform.`,
    platform: name,
    available,
  })
}
