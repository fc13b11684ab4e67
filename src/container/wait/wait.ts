import { waitForAll, waitForAny, waitForCondition, type WaitUntilOptions } from './combine.ts'
import { waitForHttp, type WaitHttpOptions } from './http.ts'
import type { WaitOptions } from './leaf.ts'
import { waitForLog, type WaitLogOptions } from './log.ts'
import { waitForPort, type WaitPortOptions } from './port.ts'
import { waitForExit, waitForHealthy, type WaitExitOptions } from './state.ts'
import type { WaitStrategy } from './strategy.ts'

/** What `container.ready()` can wait for. All but `wait.exit()` fail as soon as the container has ended. */
export interface Wait {
  /**
   * A port that listens inside the container, as the kernel tells: nothing has to be in the image for it, and nothing connects. With
   * the host's network, a program of the host may be the one that listens.
   */
  port(port: number, options?: WaitPortOptions): WaitStrategy
  /** A line that holds the text, or matches the expression, among all since the container's start. */
  log(pattern: string | RegExp, options?: WaitLogOptions): WaitStrategy
  /** An HTTP answer, asked for inside the container's network: no port has to be published. */
  http(options: WaitHttpOptions): WaitStrategy
  /** The container's health check. Fails when the container is found unhealthy, or has no check. */
  healthy(options?: WaitOptions): WaitStrategy
  /** The end of the container. */
  exit(options?: WaitExitOptions): WaitStrategy
  /** All of them, in any order. Fails with the first that fails. */
  all(strategies: readonly WaitStrategy[], options?: WaitOptions): WaitStrategy
  /** The first of them. Fails when all have failed. */
  any(strategies: readonly WaitStrategy[], options?: WaitOptions): WaitStrategy
  /** A function that is called again and again until it is true; an error counts as "not yet". */
  until(
    isSo: (options: { signal: AbortSignal }) => boolean | Promise<boolean>,
    options?: WaitUntilOptions,
  ): WaitStrategy
}

/**
 * When a container is ready: given to `container.ready()`.
 *
 * @throws `KEELSON_INVALID_OPTION`, from where it is made
 *
 * @example
 * ```ts
 * import { Engine, wait } from 'keelson'
 *
 * await using engine = await Engine.open()
 * await using database = await engine.containers.run({ image: 'docker.io/library/postgres:18' })
 * await database.ready(wait.all([wait.port(5432), wait.log('ready to accept connections')]), {
 *   timeout: '30s',
 * })
 * ```
 */
export const wait: Wait = Object.freeze({
  port: waitForPort,
  log: waitForLog,
  http: waitForHttp,
  healthy: waitForHealthy,
  exit: waitForExit,
  all: waitForAll,
  any: waitForAny,
  until: waitForCondition,
})
