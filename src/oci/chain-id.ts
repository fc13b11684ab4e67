import { digestOf, type Digest } from './digest.ts'

/**
 * The chain ids of an image's layers, lowest first: each names a layer *applied on everything below it*, so that two images
 * share a snapshot exactly when all layers up to it are equal ("Layer ChainID" in the OCI image specification's `config.md`).
 */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = []
  let below: Digest | undefined
  for (const diffId of diffIds) {
    below = below === undefined ? diffId : digestOf(`${below} ${diffId}`)
    chain.push(below)
  }
  return chain
}
