import type { Image } from '../../image/image.ts'
import type { Duration } from '../../util/duration.ts'
import type { Size } from '../../util/size.ts'
import type { LogSink } from '../logs/sink.ts'
import type { ContainerOptions } from './options.ts'

/** What happens when the program ends by itself. */
export interface RestartPolicy {
  policy: 'no' | 'on-failure' | 'always' | 'unless-stopped'
  /** With `on-failure`: most restarts in a row. Default: no limit. */
  maxRetries?: number
}

/** A command that says whether the program is well, run inside the container. Times default as Docker's do. */
export interface HealthcheckOptions {
  /** A shell line, or words; `['NONE']` turns the image's check off. Default: the image's. */
  test?: string | string[]
  /** Between checks. Default 30 s. */
  interval?: Duration
  /** A check that takes longer has failed. Default 30 s. */
  timeout?: Duration
  /** Failures in a row that make it unhealthy. Default 3. */
  retries?: number
  /** Time to start, in which failures do not count. Default 0. */
  startPeriod?: Duration
  /** Between checks during the start period. Default 5 s. */
  startInterval?: Duration
  /** What is done when it becomes unhealthy. Default `none`. */
  onFailure?: 'none' | 'kill' | 'restart' | 'stop'
}

/** Where the program's output goes. */
export interface LogOptions {
  /**
   * `file`: kept under the engine's root, read by `container.logs()` (the default). `none`: to attachers only. A function takes each line,
   * from the first on; `wait()` waits until it has had the last. It ends with this program, so it cannot be had with `detached`.
   */
  driver?: 'file' | 'none' | LogSink
  /** A file longer than this is put aside. Default: no limit. */
  maxSize?: Size
  /** Files kept, the one that is written among them. Default 1. */
  maxFiles?: number
}

/** A container that is to be created: {@link ContainerOptions}, and its life. */
export interface CreateOptions extends ContainerOptions {
  /** An image; the id of one that is there (whole, or 12 digits of it or more); or a name, which is pulled when it is missing. */
  image: string | Image
  /** Replaces the image's; a string is one word, not a shell's line. */
  command?: string | string[]
  /** 2 to 128 letters, digits, `_`, `.`, `-`. Default: a generated one. */
  name?: string
  /** The program has a terminal for its standard streams. Default `false`. */
  tty?: boolean
  /** Its standard input stays open, to be written to by `attach()`. Default `false`: it reads end of file. */
  stdin?: boolean
  /** Or Docker's words: `'always'`, `'on-failure:3'`. Default `no`. */
  restart?: RestartPolicy | string
  /** What `stop()` sends. Default: the image's, else `SIGTERM`. */
  stopSignal?: string | number
  /** How long `stop()` waits before it kills; 0: it kills at once; -1: for ever. Default 10 s. */
  stopTimeout?: Duration
  /** `'none'` turns the image's check off. Default: the image's. */
  healthcheck?: HealthcheckOptions | 'none'
  logs?: LogOptions | 'file' | 'none'
  /** It outlives this engine and this program; any later engine on the same root finds it. Default `false`: it ends with them. */
  detached?: boolean
  /** It is removed when it has ended. Default `false`. */
  autoRemove?: boolean
  /** For an image given by name: `linux/arm64`. */
  platform?: string
  /** For an image given by name. Default `missing`. */
  pull?: 'missing' | 'always' | 'never'
  /** Gives the creation up; nothing is left of it then. */
  signal?: AbortSignal
}
