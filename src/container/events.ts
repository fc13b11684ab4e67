import type { Digest } from '../oci/digest.ts'

/** What happens to containers, by name, with what is told of it. */
export interface ContainerEvents {
  /** A container's program is running. */
  'container.start': [event: { container: string; image: Digest; pid: number }]
  /** It has ended. */
  'container.exit': [
    event: {
      container: string
      image: Digest
      exitCode: number | null
      signal: string | null
      oomKilled: boolean
    },
  ]
  /** Nothing is left of it. */
  'container.remove': [event: { container: string; image: Digest }]
}
