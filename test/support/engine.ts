import {
  Engine,
  type Container,
  type CreateOptions,
  type EngineOptions,
  type Image,
} from '../../src/index.ts'
import { temporaryDirectory } from './temp.ts'

/** An engine on a root of its own, and an image of busybox with two users. */
export interface TestEngine extends AsyncDisposable {
  engine: Engine
  image: Image
  root: string
  runRoot: string
}

const APPLETS = [
  'sh',
  'cat',
  'id',
  'ls',
  'sleep',
  'true',
  'false',
  'echo',
  'head',
  'dd',
  'kill',
  'stat',
  'touch',
  'mount',
  'ps',
  'unshare',
  'hostname',
  'nproc',
  'wc',
  'grep',
  'pwd',
  'env',
  'seq',
  'stty',
  'chmod',
  'ln',
  'yes',
  'nc',
]

export async function testEngine(
  options: EngineOptions = {},
  open: (options: EngineOptions) => Promise<Engine> = (all) => Engine.open(all),
): Promise<TestEngine> {
  const temp = await temporaryDirectory()
  const runTemp = await temporaryDirectory('keelson-run-')
  const [root, runRoot] = [temp.join('root'), runTemp.join('run')]
  const engine = await open({ root, runRoot, ...options })
  const image = await engine.images.from(busyboxFiles(), { Cmd: ['sh'] })
  return {
    engine,
    image,
    root,
    runRoot,
    async [Symbol.asyncDispose]() {
      await engine.close()
      await temp[Symbol.asyncDispose]()
      await runTemp[Symbol.asyncDispose]()
    },
  }
}

export function busyboxFiles() {
  return {
    '/bin/busybox': '/bin/busybox',
    ...Object.fromEntries(APPLETS.map((name) => [`/bin/${name}`, { link: 'busybox' }])),
    '/etc/passwd': Buffer.from('root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n'),
    '/etc/group': Buffer.from('root:x:0:\nuser:x:1000:\nstaff:x:50:user\n'),
    '/etc/plain': Buffer.from('not a program'),
    '/tmp': { directory: true as const, mode: 0o1777 },
    '/home/user': { directory: true as const, uid: 1000, gid: 1000 },
  }
}

/** A container of its image, made and not started, whose shell is to carry out a script. */
export async function scripted(
  { engine, image }: TestEngine,
  script: string,
  options: Partial<CreateOptions> = {},
): Promise<Container> {
  return await engine.containers.create({ image, command: ['sh', '-c', script], ...options })
}
