import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** `npm run test:vm` tests what is published, not what it was made of. */
const built = process.env['KEELSON_TEST_BUILT'] === '1'
const alias = {
  'keelson/registry': here(
    built ? './dist/registry-server/index.js' : './src/registry-server/index.ts',
  ),
  keelson: here(built ? './dist/index.js' : './src/index.ts'),
}

/** How much longer than usual a test may take before it counts as hanging: an emulated processor is slow. */
const slowness = Number(process.env['KEELSON_TEST_SLOWNESS'] ?? 1)

export default defineConfig({
  resolve: { alias },
  test: {
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/integration/**', 'test/conformance/**'],
        },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts', 'test/conformance/**/*.test.ts'],
          testTimeout: 60_000 * slowness,
          hookTimeout: 300_000 * slowness,
          globalSetup: ['test/support/global-setup.ts'],
        },
      },
    ],
  },
})
