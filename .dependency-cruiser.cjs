// Import boundaries of docs/architecture.md. `contract` <- `model` <- `device/core` <- adapters; gateway and cloud know
// contract, model and platform only; firmware-sim, cli, bench and test may see several sides.
const sides = '^(contract|model|platform|device|gateway|cloud|firmware-sim|cli|zoo|bench|test)/'
const onlyLocal = (name, from, allowed, comment) => ({
  name,
  severity: 'error',
  comment,
  from: { path: from },
  to: { path: sides, pathNot: allowed },
})
// model/features/wasm is compiled into model and not imported.
const pure = '^(contract/|device/(core|ports)/|model/(?!engine/engine-ort-|features/wasm/))'
/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'pure-code-imports-no-platform',
      severity: 'error',
      comment:
        'contract, model (but its engines) and device/core run in Node, a page and the simulator: no node: module.',
      from: { path: pure },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'pure-code-imports-few-packages',
      severity: 'error',
      comment: 'A package inside the pure part must be portable; add it here with a decision record.',
      from: { path: pure },
      to: {
        path: 'node_modules',
        pathNot: 'node_modules/(@noble/hashes|@tufjs/canonical-json|canonicalize|tweetnacl|cborg|zod)/',
      },
    },
    onlyLocal('contract-imports-nothing-local', '^contract/', '^contract/', 'The wire format depends on nobody.'),
    onlyLocal(
      'platform-imports-contract',
      '^platform/',
      '^(contract|platform)/',
      'What Node processes share, below all of them.',
    ),
    {
      name: 'platform-imports-no-package',
      severity: 'error',
      comment: 'platform is Node and the contract.',
      from: { path: '^platform/' },
      to: { path: 'node_modules', pathNot: 'node_modules/@types/' },
    },
    onlyLocal('model-imports-contract', '^model/', '^(contract|model)/', 'model imports contract only.'),
    onlyLocal(
      'device-core-is-inner',
      '^device/(core|ports)/',
      '^(contract|model|device/(core|ports))/',
      'The core owns its ports.',
    ),
    {
      name: 'device-core-knows-no-engine',
      severity: 'error',
      from: { path: '^device/(core|ports)/' },
      to: { path: '^model/engine/engine-ort-' },
    },
    onlyLocal(
      'device-knows-inner-layers',
      '^device/',
      '^(contract|model|platform|device)/',
      'Device adapters see no server.',
    ),
    onlyLocal(
      'gateway-is-alone',
      '^gateway/',
      '^(contract|model|platform|gateway)/',
      'The gateway knows contract, model and platform only.',
    ),
    onlyLocal(
      'cloud-is-alone',
      '^cloud/',
      '^(contract|model|platform|cloud)/',
      'The cloud knows contract, model and platform only.',
    ),
    { name: 'nobody-imports-test', severity: 'error', from: { pathNot: '^test/' }, to: { path: '^test/' } },
    { name: 'not-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'no-undeclared-package',
      severity: 'error',
      from: {},
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    },
    {
      name: 'no-dev-package-in-product',
      severity: 'error',
      from: {
        path: '^(contract|model|platform|device|gateway|cloud|firmware-sim|cli)/',
        pathNot: '^model/features/wasm/',
      },
      to: { dependencyTypes: ['npm-dev'], pathNot: 'node_modules/@types/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|zoo/work)/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.json'],
    },
  },
}
