import { keelsonError } from '../../errors.ts'
import { Image } from '../../image/image.ts'
import type { Images } from '../../image/images.ts'

/** How a caller says which image. */
export interface AskedImage {
  image: string | Image
  platform?: string | undefined
  pull?: 'missing' | 'always' | 'never' | undefined
  signal?: AbortSignal | undefined
}

/** @throws `KEELSON_INVALID_OPTION` */
export function mustNameImage(image: unknown): asserts image is string | Image {
  if (image instanceof Image || (typeof image === 'string' && image !== '')) return
  throw keelsonError('KEELSON_INVALID_OPTION', 'The option image is missing.', {
    option: 'image',
    hint: 'Pass the name or the id of an image, or an Image of engine.images.',
  })
}

/** The image itself, pulled where it may and must be. */
export async function findImage(
  images: Images,
  { image, platform, pull, signal }: AskedImage,
): Promise<Image> {
  if (image instanceof Image) return image
  return await images.pull(image, {
    ...(platform !== undefined && { platform }),
    ...(pull !== undefined && { policy: pull }),
    ...(signal !== undefined && { signal }),
  })
}
