import { join } from 'node:path'
import { keelsonError } from '../../errors.ts'
import type { ExecutionParameters } from '../../oci/image-config.ts'
import type {
  HealthPlan,
  MonitorPlan,
  RestartPlan,
  StopPlan,
} from '../../runtime/monitor-protocol.ts'
import { parseSignal } from '../../util/signals.ts'
import type { RestartPolicy } from '../options/create-options.ts'
import type { NormalizedCreate } from '../normalize/create.ts'
import type { OciConfig } from '../config/oci-runtime.ts'
import { CGROUPS } from '../record/places.ts'
import type { ContainerRecord } from '../record/record.ts'

/** What the plan of a monitor is made of. */
export interface PlanInput {
  record: ContainerRecord
  config: OciConfig
  /** `state.json` and the log. */
  statePath: string
  logPath: string
  /** Directory of the journal. */
  journal: string
  /** The container's own directory, which goes with it when it removes itself. */
  directory: string
}

const SIGTERM = 15
/** Docker's. */
const RESTART_DELAY = 100
const RESTART_MAX_DELAY = 60_000
const RESTART_RESET_AFTER = 10_000
const SECOND = 1000
const HEALTH_DEFAULTS = {
  interval: 30 * SECOND,
  timeout: 30 * SECOND,
  retries: 3,
  startPeriod: 0,
  startInterval: 5 * SECOND,
}
const NANOSECONDS = 1_000_000
const DEFAULT_SHELL = ['/bin/sh', '-c']

/** All that a container's monitor does, with nobody left to ask. Pure. */
export function planMonitor(input: PlanInput): MonitorPlan {
  const { record, config, directory } = input
  const { options, image } = record
  const health = planHealth(options, image.parameters, config)
  return {
    container: record.id,
    config,
    state: { path: input.statePath, durable: options.detached },
    ...(options.logs.driver === 'file' && {
      log: {
        path: input.logPath,
        ...(options.logs.maxSize !== undefined && { maxSize: options.logs.maxSize }),
        ...(options.logs.maxFiles !== undefined && { maxFiles: options.logs.maxFiles }),
      },
    }),
    restart: planRestart(options.restart),
    ...(health !== undefined && { health }),
    stop: planStop(options, image.parameters),
    remove: {
      atExit: options.autoRemove,
      marker: join(record.run, CGROUPS),
      // The record last: as long as it is there, whoever finds it can finish what was interrupted.
      trees: [
        ...record.rootfs.remove,
        ...(record.ids === undefined ? [] : [record.ids.path]),
        record.run,
        directory,
      ],
    },
    journal: { directory: input.journal, about: aboutContainer(record) },
    cgroups: [],
  }
}

/** What every event of a container tells of it. */
export interface ContainerAbout {
  name: string
  image: string
  digest: string
  labels: Record<string, string>
}

export function aboutContainer({ name, image, labels }: ContainerRecord): ContainerAbout {
  return { name, image: image.reference, digest: image.digest, labels }
}

/** Docker's back-off. */
export function planRestart({ policy, maxRetries }: RestartPolicy): RestartPlan {
  return {
    when: WHEN[policy],
    ...(maxRetries !== undefined && { maxRetries }),
    delay: RESTART_DELAY,
    maxDelay: RESTART_MAX_DELAY,
    resetAfter: RESTART_RESET_AFTER,
  }
}

/** The monitor does not restart what was stopped by hand; what differs after a reboot is the next engine's to see. */
const WHEN: Record<RestartPolicy['policy'], RestartPlan['when']> = {
  no: 'never',
  'on-failure': 'failure',
  always: 'always',
  'unless-stopped': 'always',
}

export function planStop(
  options: Pick<NormalizedCreate, 'stopSignal' | 'stopTimeout'>,
  image: ExecutionParameters,
): StopPlan {
  return {
    signal: options.stopSignal ?? imageSignal(image.StopSignal),
    timeout: options.stopTimeout,
  }
}

function imageSignal(signal: string | undefined): number {
  if (signal === undefined || signal === '') return SIGTERM
  try {
    return parseSignal(signal, 'stopSignal')
  } catch (cause) {
    throw keelsonError(
      'KEELSON_INVALID_OPTION',
      `The image wants to be stopped by ${JSON.stringify(signal)}, which is not a signal.`,
      { cause, option: 'stopSignal', hint: 'Pass a stopSignal of your own.' },
    )
  }
}

/** The check of the options over the image's, with Docker's defaults; undefined when there is none. */
export function planHealth(
  options: Pick<NormalizedCreate, 'healthcheck'>,
  image: ExecutionParameters,
  config: Pick<OciConfig, 'process'>,
): HealthPlan | undefined {
  const given = options.healthcheck
  const base = image.Healthcheck ?? {}
  const [kind, ...words] = given?.test ?? base.Test ?? []
  const args = kind === 'CMD' ? words : kind === 'CMD-SHELL' ? shell(image, words) : []
  if (args.length === 0) return undefined
  const time = (name: Time, own: number | undefined) =>
    given?.[name] ?? milliseconds(own) ?? HEALTH_DEFAULTS[name]
  return {
    process: { ...config.process, args, terminal: false },
    interval: time('interval', base.Interval),
    timeout: time('timeout', base.Timeout),
    retries: given?.retries ?? nonZero(base.Retries) ?? HEALTH_DEFAULTS.retries,
    startPeriod: time('startPeriod', base.StartPeriod),
    startInterval: time('startInterval', base.StartInterval),
    onUnhealthy: given === undefined || given.onFailure === 'none' ? 'nothing' : given.onFailure,
  }
}

type Time = 'interval' | 'timeout' | 'startPeriod' | 'startInterval'

function shell(image: ExecutionParameters, words: string[]): string[] {
  const own = image.Shell
  return [...(own === undefined || own.length === 0 ? DEFAULT_SHELL : own), ...words]
}

/** Of nanoseconds; an image's 0 means the default. */
function milliseconds(time: number | undefined): number | undefined {
  const value = nonZero(time)
  return value === undefined ? undefined : Math.max(1, Math.round(value / NANOSECONDS))
}

function nonZero(value: number | undefined): number | undefined {
  return value === 0 ? undefined : value
}
