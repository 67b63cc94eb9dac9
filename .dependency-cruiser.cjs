// Import boundaries of docs/architecture.md. `contract` <- `model` <- `device/core` <- adapters; gateway and cloud know
// contract, model, release (the cloud) and platform only; firmware-sim, cli, bench and test may see several sides.
const sides = '^(contract|model|platform|device|release|gateway|cloud|firmware-sim|cli|zoo|bench|test)/'
const onlyLocal = (name, from, allowed, comment) => ({
  name,
  severity: 'error',
  comment,
  from: { path: from },
  to: { path: sides, pathNot: allowed },
})
/** The rooms of each folder, and the rooms that each may import; besides, it may import the files beside the rooms, but not the composers. */
const houses = {
  contract: { rooms: { patch: [], tuf: [] }, composers: ['index', 'metadata-file', 'repository-target'] },
  model: {
    rooms: {
      audio: [],
      onnx: [],
      tflite: [],
      plan: ['onnx', 'tflite'],
      engine: ['onnx'],
      'engine-tiny': ['engine', 'onnx', 'plan', 'tflite'],
      features: ['engine'],
      pipeline: ['engine', 'features'],
    },
    composers: ['engine-by-format', 'graph-file', 'index', 'opened-bundle', 'pack', 'tensor-map'],
  },
  device: {
    rooms: {
      ports: [],
      core: ['ports'],
      // What a device says over a network, on Node and in a page alike.
      link: ['core', 'ports'],
      node: ['core', 'link', 'ports'],
      browser: ['core', 'link', 'ports'],
    },
    composers: ['create-agent', 'index'],
  },
  'device/core': {
    rooms: {
      power: [],
      listen: [],
      flash: [],
      update: ['flash', 'power'],
      agent: ['flash', 'listen', 'power', 'update'],
    },
    composers: ['boot', 'host'],
  },
  release: { rooms: { patch: [] }, composers: ['repository-review'] },
  gateway: {
    rooms: {
      store: [],
      'cloud-link': ['store'],
      broker: ['cloud-link', 'store'],
      downloads: ['broker', 'cloud-link', 'store'],
    },
    composers: ['gateway', 'gateway-options', 'http', 'metrics', 'readiness', 'verifier'],
  },
  cloud: {
    rooms: {
      store: [],
      registry: ['store'],
      trust: ['registry', 'store'],
      rollout: ['store', 'trust'],
      telemetry: ['rollout', 'store'],
      // The status page is part of the API's application, and each needs the other's name for it.
      console: ['api'],
      api: ['console', 'registry', 'rollout', 'store', 'telemetry', 'trust'],
    },
    composers: ['backup', 'cloud', 'evaluation-loop', 'look-client', 'look-service', 'look-worker', 'readiness'],
  },
  'firmware-sim': { rooms: { 'power-cut': [] }, composers: [] },
  cli: {
    rooms: {
      keys: [],
      device: [],
      model: [],
      patch: [],
      release: ['keys'],
      services: ['device'],
      story: ['keys', 'release'],
    },
    composers: ['kinglet'],
  },
}
const roomRules = Object.entries(houses).flatMap(([house, { rooms, composers }]) => [
  ...Object.entries(rooms).map(([room, others]) => ({
    name: `room-${house}/${room}`,
    severity: 'error',
    comment: `${house}/${room} may import ${others.join(', ') || 'no other room'} and the files beside the rooms that compose none.`,
    from: { path: `^${house}/${room}/` },
    to: {
      path: [`^${house}/[^/]+/`, ...composers.map((name) => `^${house}/${name}\\.ts$`)],
      pathNot: [room, ...others].map((name) => `^${house}/${name}/`),
    },
  })),
  {
    name: `room-unnamed-in-${house}`,
    severity: 'error',
    comment: 'A new room is named in the table, with what it may import.',
    from: {},
    to: { path: `^${house}/[^/]+/`, pathNot: [`^${house}/(${Object.keys(rooms).join('|')})/`] },
  },
])
// model/features/wasm and model/engine-tiny/wasm are compiled into model and not imported.
const pure = '^(contract/|release/|device/(core|ports)/|model/(?!engine/engine-ort-|features/wasm/|engine-tiny/wasm/))'
// Packages that run wherever the pure parts do. One more comes with a decision record.
const PORTABLE = '@noble/hashes|@tufjs/canonical-json|canonicalize|tweetnacl|cborg|zod'
/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'pure-code-imports-no-platform',
      severity: 'error',
      comment: 'contract, model (but its engines) and device/core depend on no platform: no node: module.',
      from: { path: pure },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'pure-code-imports-few-packages',
      severity: 'error',
      comment: 'A package inside the pure part must be portable; add it here with a decision record.',
      from: { path: pure, pathNot: '^release/' },
      to: { path: 'node_modules', pathNot: `node_modules/(${PORTABLE})/` },
    },
    {
      name: 'release-imports-few-packages',
      severity: 'error',
      comment:
        'Above the packages of the pure part only the models of TUF documents, which operators and the cloud write.',
      from: { path: '^release/' },
      to: { path: 'node_modules', pathNot: `node_modules/(@tufjs/models|${PORTABLE})/` },
    },
    onlyLocal('release-knows-contract-and-model', '^release/', '^(contract|model|release)/', 'Below cloud and cli.'),
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
      comment: 'platform is Node and the contract, and SQLite, by whose locks a folder has one owner.',
      from: { path: '^platform/' },
      to: { path: 'node_modules', pathNot: 'node_modules/(@types|better-sqlite3)/' },
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
      '^(contract|model|platform|release|cloud)/',
      'The cloud knows contract, model, platform and release only.',
    ),
    {
      name: 'page-is-no-node',
      severity: 'error',
      comment:
        'What runs in a page, and what it shares with Node, imports no node: module and nothing of Node processes.',
      from: { path: '^device/(browser|link)/' },
      to: { path: '^platform/|^model/engine/engine-ort-node', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'page-imports-no-node-module',
      severity: 'error',
      from: { path: '^device/(browser|link)/' },
      to: { dependencyTypes: ['core'] },
    },
    ...roomRules,
    {
      name: 'cloud-store-verifies-nothing',
      severity: 'error',
      comment: 'What is stored has been verified by who stores it. Types of signed documents are no verification.',
      from: { path: '^cloud/store/' },
      to: {
        path: '^contract/(signed|device-proof|tuf/)|node_modules/(tweetnacl|jose)/',
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'product-knows-no-scripts',
      severity: 'error',
      comment: 'zoo and bench make and measure what the product uses; the product does not use them.',
      from: { path: '^(contract|model|platform|device|release|gateway|cloud|firmware-sim|cli)/' },
      to: { path: '^(zoo|bench)/' },
    },
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
        // Compiled into model, or bundled into the page (build-page.mjs).
        pathNot: '^(model/(features|engine-tiny)/wasm|device/browser)/',
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
