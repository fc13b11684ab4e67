import type { ConfigChanges } from '../../image/commit.ts'
import type { Image } from '../../image/image.ts'
import type { BaseImage, Images } from '../../image/images.ts'
import { convertingFile } from '../../snapshot/files/failure.ts'
import type { FileOptions } from '../../snapshot/files/files.ts'
import type { ChangeAccess } from './diff.ts'

export interface CommitOptions extends FileOptions {
  /** Its name, `app:1`. Default: none; it can be given one by `tag`. */
  reference?: string
  author?: string
  /** For the history. */
  message?: string
  /** What is otherwise in the configuration: `{ Cmd: ['/bin/app'], Env: ['A=1'] }`; `null` takes a field away. */
  changes?: ConfigChanges
  /** Stop the container's processes meanwhile, so that what is written together is found together. Default: where this host can; `true`: or fail. */
  pause?: boolean
  /** Default `none`: what stays on this host need not be smaller. */
  compression?: 'none' | 'gzip'
}

/** What a commit needs of a container. */
export interface CommitAccess extends ChangeAccess {
  readonly images: Images
  /** What it was made from. */
  readonly image: BaseImage
  /** How it was asked to run, where that is not as the image says. */
  readonly config: ConfigChanges
  /** Runs `work` while the container's processes stand still, when it is running; where they cannot, all the same unless it `must`. */
  paused<T>(work: () => Promise<T>, must: boolean): Promise<T>
}

/**
 * Makes an image of a container: the one that it was made from, and what it changed as one layer more; its configuration is the image's
 * with the container's options and `changes`. It is ready to run and to be pushed. What is mounted in the container does not count.
 *
 * @throws `KEELSON_INVALID_REFERENCE`, `KEELSON_INVALID_OPTION`, `KEELSON_CGROUP_UNAVAILABLE`, `KEELSON_NO_SPACE`, `KEELSON_PERMISSION`, `KEELSON_IO`, `KEELSON_ABORTED`
 */
export async function commitContainer(
  access: CommitAccess,
  options: CommitOptions = {},
): Promise<Image> {
  const { pause, compression = 'none', signal, reference, author, message } = options
  const write = async (file: string) => {
    await using comparison = await access.compare(options)
    return await access.helper.request(
      'layer.create',
      { ...comparison.roots, file, compression },
      { signal },
    )
  }
  const layer = (file: string) =>
    convertingFile('commit', '/', () =>
      pause === false ? write(file) : access.paused(() => write(file), pause === true),
    )
  return await access.images.layered(access.image, layer, {
    ...(reference === undefined ? {} : { reference }),
    ...(author === undefined ? {} : { author }),
    ...(message === undefined ? {} : { message }),
    changes: mergedChanges(access.config, options.changes ?? {}),
    by: 'keelson commit',
    compression,
    signal,
  })
}

/** The caller's own word is the last. */
function mergedChanges(container: ConfigChanges, changes: ConfigChanges): ConfigChanges {
  const Env = [...(container.Env ?? []), ...(changes.Env ?? [])]
  const Labels = { ...container.Labels, ...changes.Labels }
  return {
    ...container,
    ...changes,
    ...(Env.length > 0 && changes.Env !== null ? { Env } : {}),
    ...(Object.keys(Labels).length > 0 && changes.Labels !== null ? { Labels } : {}),
  }
}
