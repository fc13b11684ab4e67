import { keelsonError } from '../errors.ts'
import type { Descriptor } from './descriptor.ts'
import type { Index, Manifest } from './manifest.ts'
import type { Platform } from './platform.ts'
import { selectPlatform } from './select-platform.ts'

/** An index in an index is legal; deeper than this nobody means it. */
const MAX_DEPTH = 4

/** An image's manifest, and the documents that led to it. */
export interface ResolvedManifest {
  descriptor: Descriptor
  manifest: Manifest
  /** The indexes passed on the way, outermost first. */
  indexes: { descriptor: Descriptor; index: Index }[]
}

/**
 * Goes from what a reference names down to the manifest for one platform.
 *
 * @param load fetches and decodes one document
 * @throws `KEELSON_PLATFORM_NOT_FOUND`; `KEELSON_MANIFEST_INVALID` when indexes go round in a circle or too deep.
 */
export async function resolveManifest(
  root: Descriptor,
  load: (descriptor: Descriptor) => Promise<Manifest | Index>,
  wanted: Platform,
): Promise<ResolvedManifest> {
  const indexes: ResolvedManifest['indexes'] = []
  let descriptor = root
  for (;;) {
    const document = await load(descriptor)
    if (document.kind === 'manifest') return { descriptor, manifest: document, indexes }
    indexes.push({ descriptor, index: document })
    const next = selectPlatform(document, wanted)
    if (indexes.some((passed) => passed.descriptor.digest === next.digest)) {
      throw keelsonError('KEELSON_MANIFEST_INVALID', 'An image index points to itself.')
    }
    if (indexes.length >= MAX_DEPTH) {
      throw keelsonError(
        'KEELSON_MANIFEST_INVALID',
        `Image indexes are nested more than ${MAX_DEPTH} deep.`,
      )
    }
    descriptor = next
  }
}
