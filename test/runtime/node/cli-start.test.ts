import { expect, it } from 'vitest'
import { loadedModules, packageOf } from '../../fixtures/loaded-modules.ts'
import { builtScript, ROOT } from './cli-process.ts'

/** Half a second for an engine, a database and a web framework that only say how a command is called: counted in packages, since a clock
 *  would judge the machine. */
const groups = ['story', 'model', 'patch', 'device', 'gateway', 'cloud', 'token', 'keys', 'release', 'rollout', 'sim']
it.each(['--version', '--help', ...[...groups, 'device run', 'gateway run'].map((command) => `${command} --help`)])(
  'kinglet %s loads commander and no other package',
  async (command) => {
    const loaded = await loadedModules(builtScript(), command.split(' '), ROOT)
    expect([...new Set(loaded.map(packageOf))].filter((name) => name !== undefined)).toEqual(['commander'])
  },
)

it('what a command does is loaded when it does it', async () => {
  const loaded = await loadedModules(builtScript(), ['model', 'inspect', 'zoo/bundles/kws-2.kinglet'], ROOT)
  expect(loaded.map(packageOf)).toContain('onnxruntime-node')
})
