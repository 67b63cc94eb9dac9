import { expect, it } from 'vitest'
import { RIGHTS } from '../../cloud/api/rights.ts'
import { SERVICE_ROLES } from '../../cloud/store/roles.ts'
import { textOf } from './documents.ts'

it('docs/security.md says who may do what, as the cloud has it', () => {
  const section = textOf('docs/security.md').split('## Who may do what\n')[1]?.split('\n## ')[0] ?? ''
  const rows = section.split('\n').filter((line) => line.startsWith('|'))
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const expected = Object.values(RIGHTS).map(({ what, roles, routes }) =>
    row([
      what,
      ...SERVICE_ROLES.map((role) => ((roles as readonly string[]).includes(role) ? 'yes' : '')),
      routes.map((route) => `\`${route}\``).join(', '),
    ]),
  )
  expect(rows).toEqual([
    row(['to', ...SERVICE_ROLES, 'routes']),
    row(['---', ...SERVICE_ROLES.map(() => '---'), '---']),
    ...expected,
  ])
})
