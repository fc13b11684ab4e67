/**
 * `keelson/registry`: an OCI registry in this process, for tests and tools.
 * @module
 */
export { Registry, type RegistryOptions, type RegistryRequest } from './registry.ts'
export type { Credentials, TokenOptions } from './authorization.ts'
export type { Fault } from './fault.ts'
export type { Descriptor } from '../oci/descriptor.ts'
export type { Digest } from '../oci/digest.ts'
export type { Platform } from '../oci/platform.ts'
