import { keelsonError } from '../errors.ts'
import { printable } from '../util/printable.ts'

/** Media types of the documents and layers that Keelson reads. */
export const MEDIA_TYPES = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerLayerZstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
} as const

/** What a client accepts when it asks for an image by name. */
export const MANIFEST_MEDIA_TYPES: readonly string[] = [
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerList,
  MEDIA_TYPES.dockerManifest,
]

/** How a layer's tar archive is packed. */
export type Compression = 'none' | 'gzip' | 'zstd'

/** `type/subtype` of RFC 6838: nothing in it can break out of an HTTP header. */
export function isMediaType(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/.test(
    text,
  )
}

export function isIndexMediaType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.ociIndex || mediaType === MEDIA_TYPES.dockerList
}

export function isManifestMediaType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.ociManifest || mediaType === MEDIA_TYPES.dockerManifest
}

export function isSchema1MediaType(mediaType: string): boolean {
  return /^application\/vnd\.docker\.distribution\.manifest\.v1\+(?:json|prettyjws)$/.test(
    mediaType,
  )
}

export function isConfigMediaType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.ociConfig || mediaType === MEDIA_TYPES.dockerConfig
}

const LAYER =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+(?<oci>gzip|zstd))?|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.(?<docker>gzip|zstd))?)$/

/**
 * How a layer of this media type is packed. Foreign and non-distributable layers count as ordinary ones: they are fetched from the
 * registry like any other, and the `urls` of their descriptors, which an attacker may have chosen, are never followed.
 *
 * @throws `KEELSON_MANIFEST_UNSUPPORTED` for encrypted layers and for anything that is not a tar archive.
 */
export function layerCompression(mediaType: string): Compression {
  const groups = LAYER.exec(mediaType)?.groups
  if (groups !== undefined) {
    const packing = groups['oci'] ?? groups['docker']
    return packing === 'gzip' || packing === 'zstd' ? packing : 'none'
  }
  const name = printable(mediaType)
  if (/[+.]encrypted\b/.test(mediaType)) {
    throw keelsonError('KEELSON_MANIFEST_UNSUPPORTED', `A layer is encrypted (${name}).`, {
      hint: 'Decrypt the image first, for example with "skopeo copy --decryption-key".',
    })
  }
  throw keelsonError(
    'KEELSON_MANIFEST_UNSUPPORTED',
    `A layer has the unknown media type ${name}.`,
    {
      hint: 'Layers are tar archives: plain, gzip or zstd.',
    },
  )
}
