import { signalName } from '../../util/signals.ts'
import type { NormalizedMount, Mount } from '../../volume/mount-spec.ts'
import type { DeviceRule } from '../../security/devices.ts'
import type { LogSink } from '../logs/sink.ts'
import type { NormalizedCreate } from '../normalize/create.ts'
import type { NormalizedBlockIo } from '../normalize/io.ts'
import type { CreateOptions } from '../options/create-options.ts'
import type { BlockIo } from '../options/options.ts'
import type { ContainerRecord } from '../record/record.ts'

/**
 * The options of a container in their canonical form: `create()` makes its like of them. Its name is not among them, as names are unique; the
 * image is named by its id, so that it is the same one whatever its name means by now.
 */
export type GivenOptions = Omit<CreateOptions, 'name' | 'signal' | 'platform' | 'pull'>

/**
 * As a container was asked for, in objects, bytes and milliseconds. What was left to the image or has no default is absent. Pure.
 *
 * @param sink that takes its log, where this program has it
 */
export function givenOptions(
  { image, options }: Pick<ContainerRecord, 'image' | 'options'>,
  sink?: LogSink,
): GivenOptions {
  const {
    name: _,
    openStdin,
    network,
    mounts,
    ports,
    storage,
    blkio,
    hugetlb,
    ulimits,
    deviceCgroupRules,
    extraHosts,
    stopSignal,
    logs,
    ...same
  } = options
  return present({
    ...same,
    image: image.id,
    stdin: openStdin,
    networks: network,
    ports: ports.map(({ container, host, hostIp, protocol }) =>
      present({ container, host: host === 0 ? undefined : host, hostIp, protocol }),
    ),
    mounts: mounts.map(givenMount),
    storage: storage && givenStorage(storage),
    blkio: blkio && givenBlkio(blkio),
    hugetlb: Object.fromEntries(hugetlb.map(({ pageSize, limit }) => [pageSize, limit])),
    ulimits: Object.fromEntries(ulimits.map(({ name, soft, hard }) => [name, { soft, hard }])),
    deviceCgroupRules: deviceCgroupRules.map(ruleText),
    extraHosts: extraHosts.map(({ name, address }) => `${name}:${address}`),
    stopSignal: stopSignal === undefined ? undefined : signalName(stopSignal),
    logs: givenLogs(logs, sink),
  })
}

function givenMount(mount: NormalizedMount): Mount {
  // Its words were checked when the container was made.
  if (mount.type === 'bind') return mount as Extract<Mount, { type: 'bind' }>
  if (mount.type === 'tmpfs') return present(mount)
  if (mount.type === 'image') {
    const { image, source, ...same } = mount
    return { ...same, source: image?.id ?? source }
  }
  const { source, anonymous, path: _, ...same } = mount
  return present({ ...same, source: anonymous ? undefined : source })
}

function givenStorage({ size }: { size: number | undefined }): 'tmpfs' | { size: number } {
  return size === undefined ? 'tmpfs' : { size }
}

function givenBlkio(blkio: NormalizedBlockIo): BlockIo {
  return present({
    weight: blkio.weight,
    weightDevice: Object.fromEntries(blkio.weightDevice.map(({ path, weight }) => [path, weight])),
    readBps: rates(blkio.readBps),
    writeBps: rates(blkio.writeBps),
    readIops: rates(blkio.readIops),
    writeIops: rates(blkio.writeIops),
  })
}

function rates(list: NormalizedBlockIo['readBps']): Record<string, number> {
  return Object.fromEntries(list.map(({ path, rate }) => [path, rate]))
}

function ruleText({ type = 'a', major, minor, access }: DeviceRule): string {
  return `${type} ${major ?? '*'}:${minor ?? '*'} ${access}`
}

/** A function of another program cannot be had: its like has no log. */
function givenLogs({ driver, ...sizes }: NormalizedCreate['logs'], sink: LogSink | undefined) {
  return { driver: driver === 'sink' ? (sink ?? ('none' as const)) : driver, ...sizes }
}

type Present<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>
}

/** Without the fields that are undefined. */
function present<T extends object>(fields: T): Present<T> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as Present<T>
}
