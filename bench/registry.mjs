// node bench/registry.mjs LAYOUT: serves it on loopback until its standard input ends, from a process of its own, as registries are.
import { Registry } from '../dist/registry-server/index.js'

const registry = await Registry.listen({ layout: process.argv[2], readonly: true })
console.log(registry.host)
for await (const _ of process.stdin);
process.exit(0)
