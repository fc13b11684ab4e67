export { Engine } from './engine.ts'
export type { DiskUsage } from './engine-df.ts'
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
export { ERRORS } from './errors.ts'
export type { ErrorCode } from './errors.ts'
export type { EngineEvent, EngineEvents } from './events/event.ts'
export type { EventFilters } from './events/filters.ts'
export type { EventsOptions } from './events/read.ts'
export type { AboutImage, ImageEvents } from './image/events.ts'
export type { AboutMember, AboutNetwork, NetworkEvents } from './network/events.ts'
export type { AboutVolume, VolumeEvents } from './volume/events.ts'
export type { AboutContainer, ContainerEvents } from './container/events/events.ts'
export type {
  BlockIo,
  ContainerOptions,
  Device,
  NetworkAttachment,
  RunOptions,
  Ulimit,
} from './container/options/options.ts'
export type {
  ContainerReference,
  SharedWith,
  SharedWithText,
  UserMappings,
} from './container/namespaces/options.ts'
export type { IdMapping } from './runtime/protocol.ts'
export type { Container } from './container/container.ts'
export type { RemoveOptions, SignalOption, StopOptions } from './container/lifecycle/living.ts'
export type { Containers, ListOptions, PrunedContainers } from './container/containers.ts'
export type {
  CreateOptions,
  HealthcheckOptions,
  LogOptions,
  RestartPolicy,
} from './container/options/create-options.ts'
export type { ContainerExit } from './container/lifecycle/monitor-state.ts'
export type { WaitCondition } from './container/lifecycle/wait-condition.ts'
export type { Attachment, AttachOptions } from './container/attach/attach.ts'
export type { ExecOptions, ProcessOptions, SpawnOptions } from './container/exec/options.ts'
export type { ExecProcess } from './container/exec/process.ts'
export type { LogEntry } from './container/logs/entry.ts'
export type { LogsOptions } from './container/logs/options.ts'
export type { TerminalSize } from './runtime/monitor-protocol.ts'
export type { LogSink } from './container/logs/sink.ts'
export type { ContainerFilters } from './container/filters.ts'
export type {
  ContainerHealth,
  ContainerInspect,
  ContainerNetwork,
  ContainerState,
  InspectedMount,
} from './container/inspect/inspect.ts'
export type { GivenOptions } from './container/inspect/given-options.ts'
export type { UpdateOptions } from './container/lifecycle/update.ts'
export type { ContainerStatus } from './runtime/monitor-protocol.ts'
export type { RunResult } from './container/run/result.ts'
export type { RunningProcess } from './container/run/run.ts'
export type {
  CpuStats,
  IoStats,
  MemoryStats,
  NetworkStats,
  PidsStats,
  Stats,
} from './container/stats/stats.ts'
export type { StatsOptions } from './container/stats/stream.ts'
export type { ContainerProcess, ProcessState } from './container/top.ts'
export type { WaitUntilOptions } from './container/wait/combine.ts'
export type { WaitHttpOptions } from './container/wait/http.ts'
export type { WaitOptions } from './container/wait/leaf.ts'
export type { WaitLogOptions } from './container/wait/log.ts'
export type { WaitPortOptions } from './container/wait/port.ts'
export type { ReadyOptions } from './container/wait/ready.ts'
export type { WaitExitOptions } from './container/wait/state.ts'
export type { WaitLine, WaitStrategy } from './container/wait/strategy.ts'
export type {
  Connector,
  ConnectorTarget,
  ContainerAgentOptions,
} from './container/connect/agent.ts'
export type { ConnectOptions } from './container/connect/connect.ts'
export type { ContainerConnection } from './container/connect/connection.ts'
export { wait } from './container/wait/wait.ts'
export type { Wait } from './container/wait/wait.ts'
export type { Image } from './image/image.ts'
export type { Images, PullOptions, PullPolicy } from './image/images.ts'
export type { PullProgress } from './image/progress.ts'
export type { Network } from './network/network.ts'
export type { NetworkFault } from './network/faults/fault.ts'
export type { NetworkLink } from './network/faults/link.ts'
export type { FaultMember } from './network/faults/members.ts'
export type { PartitionOptions } from './network/faults/network-faults.ts'
export type { Bandwidth, LinkDirection, LinkOptions } from './network/faults/options.ts'
export type { NetworkInspect } from './network/network.ts'
export type {
  NameAnswer,
  NameFunction,
  NameQuestion,
  NameResolver,
  ResolveOptions,
} from './network/resolve/resolver.ts'
export type { ListenOptions, NetworkListener } from './network/listen/listener.ts'
export type {
  NetworkConnectOptions,
  NetworkDisconnectOptions,
  NetworkMember,
} from './network/members.ts'
export type { NetworkOptions, SubnetOptions } from './network/network-options.ts'
export type { NetworkFilters, Networks } from './network/networks.ts'
export type { PortProtocol, PortSpec, PublishedPort } from './network/firewall/ports.ts'
export type { PortAddress, PortOptions } from './container/networks/published.ts'
export type { RegistryAuth, RegistryOptions } from './registry/options.ts'
export type { Diagnosis } from './runtime/doctor.ts'
export type { Duration } from './util/duration.ts'
export type { Size } from './util/size.ts'
export type { DriverVolume, VolumeDriver } from './volume/driver.ts'
export type { Mount } from './volume/mount-spec.ts'
export type { Volume, VolumeInspect, VolumeSize } from './volume/volume.ts'
export type { VolumeOptions } from './volume/volume-options.ts'
export type { PrunedVolumes, VolumeFilters, Volumes } from './volume/volumes.ts'
export type { ImageFile, ImageFiles } from './image/files.ts'
export type { ImageFilter } from './image/find.ts'
export type { ImageFromHostOptions } from './image/from-host.ts'
export type { ImageFromOptions } from './image/from.ts'
export type { ImageHistory, ImageInspect, RemovedImage, RemoveImageOptions } from './image/image.ts'
export type { MadeImageOptions } from './image/images.ts'
export type { PrunedImages, PruneOptions } from './image/stored.ts'
export type { LayerStatus, PullTotals } from './image/progress.ts'
export type { Digest } from './oci/digest.ts'
export type {
  ExecutionParameters,
  Healthcheck,
  HistoryEntry,
  ImageConfig,
} from './oci/image-config.ts'
export type { Platform } from './oci/platform.ts'
export { parseReference } from './oci/reference.ts'
export type { Reference } from './oci/reference.ts'
export type { CgroupMode } from './runtime/cgroup-hierarchy.ts'
export type { DiagnosisCode } from './runtime/doctor.ts'
export type { ConfigChanges } from './image/commit.ts'
export type { Files, FileOptions } from './snapshot/files/files.ts'
export type { FilePath } from './snapshot/files/names.ts'
export type { FileEntry, FileStat, FileType } from './snapshot/files/stat.ts'
export type {
  ContainerFiles,
  FileAttributes,
  FileContent,
  WriteFileOptions,
} from './container/files/files.ts'
export type { CopyInOptions, CopySource } from './container/files/copy-in.ts'
export type { CopyOutOptions } from './container/files/copy-out.ts'
export type { CommitOptions } from './container/files/commit.ts'
export type { FileChange } from './container/files/diff.ts'
export type { ArchiveSource } from './image/archive/unpacked.ts'
export type { ImportOptions } from './image/archive/import.ts'
export type { PushedImage, PushOptions, PushProgress, PushStatus } from './image/push.ts'
