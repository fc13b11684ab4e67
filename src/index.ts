export { Engine } from './engine.ts'
export type { EngineInfo } from './engine-info.ts'
export type { EngineOptions, Warning } from './engine-options.ts'
export {
  AbortedError,
  ConflictError,
  ContentError,
  HostError,
  InvalidError,
  KeelsonError,
  NotFoundError,
  RegistryError,
  RunError,
} from './errors.ts'
export type { ErrorCode } from './errors.ts'
export type { ContainerOptions, Device, RunOptions, Ulimit } from './container/options.ts'
export type { RunResult } from './container/result.ts'
export type { RunningProcess } from './container/run.ts'
export { Image } from './image/image.ts'
export type { Images, PullOptions, PullPolicy } from './image/images.ts'
export type { PullProgress } from './image/progress.ts'
export type { RegistryAuth, RegistryOptions } from './registry/options.ts'
export type { Diagnosis } from './runtime/doctor.ts'
export type { Duration } from './util/duration.ts'
export type { Size } from './util/size.ts'
export type { Mount } from './volume/mount-spec.ts'
