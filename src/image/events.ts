import type { Digest } from '../oci/digest.ts'

/** What every event of an image tells of it. */
export interface AboutImage {
  /** {@link Image.id} */
  image: Digest
  /** {@link Image.digest} */
  digest: Digest
  labels: Record<string, string>
}

/** What happens to images, by name, with what is told of it. */
export interface ImageEvents {
  /** A registry was asked for it; what was here already is not told. */
  'image.pull': [event: AboutImage & { reference: string }]
  'image.push': [event: AboutImage & { reference: string }]
  /** It came out of an archive of images. */
  'image.load': [event: AboutImage & { references: string[] }]
  /** It was made of an archive of files. */
  'image.import': [event: AboutImage & { references: string[] }]
  /** It was made of values, of the host's programs, or of a container. */
  'image.create': [event: AboutImage & { references: string[] }]
  /** It has got a name, by hand. */
  'image.tag': [event: AboutImage & { reference: string }]
  /** A name was taken away from it, by hand. */
  'image.untag': [event: AboutImage & { reference: string }]
  /** It was removed, by hand or by a prune. */
  'image.remove': [event: AboutImage & { references: string[] }]
  /** After the `image.remove` of each that was removed. */
  'image.prune': [event: { images: Digest[]; bytes: number }]
}

/** Every name, each once. */
export const IMAGE_EVENTS: Record<keyof ImageEvents, true> = {
  'image.pull': true,
  'image.push': true,
  'image.load': true,
  'image.import': true,
  'image.create': true,
  'image.tag': true,
  'image.untag': true,
  'image.remove': true,
  'image.prune': true,
}
