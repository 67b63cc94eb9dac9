import type { IncidentRecord } from '../../cloud/store/incident-store.ts'

/** An incident as the cloud tells it. */
export interface IncidentDetail extends IncidentRecord {
  readonly runbook: string
  readonly timeline: readonly {
    readonly atMs: number
    readonly kind: string
    readonly by: string | null
    readonly words: string
  }[]
  readonly isCut: boolean
}

const TO_WRITE = '_To be written._'

/** An incident as Markdown: what the cloud knows, and the questions that people answer. */
export function postmortem(incident: IncidentDetail): string {
  const { id, severity, title, family, site, rollout, beganMs, openedMs, openedBy, closedMs, closedBy, outcome } =
    incident
  const about = [family && `family ${family}`, site && `site ${site}`, rollout && `rollout ${rollout}`].filter(Boolean)
  const rows = incident.timeline.map(
    ({ atMs, kind, by, words }) => `| ${timeOf(atMs)} | ${kind} | ${cell(by ?? '')} | ${cell(words)} |`,
  )
  const lasted = closedMs === null ? 'it is open' : hoursOf(closedMs - beganMs)
  return [
    `# ${inline(title)}`,
    '',
    `Incident ${id}, ${severity}, about ${about.length === 0 ? 'everything' : about.map((each) => inline(String(each))).join(', ')}.`,
    '',
    `- Began: ${timeOf(beganMs)}`,
    `- Opened: ${timeOf(openedMs)} by ${inline(openedBy)}, ${hoursOf(openedMs - beganMs)} after it began`,
    `- Closed: ${closedMs === null ? 'not yet' : `${timeOf(closedMs)} by ${inline(closedBy ?? '')}`}`,
    `- Lasted: ${lasted}`,
    `- What ended it: ${outcome === null ? TO_WRITE : inline(outcome)}`,
    `- What to do in such a case: ${incident.runbook}`,
    '',
    ...section('Summary', 'In three sentences: what happened, to whom, what ended it.'),
    ...section('Impact', 'How many devices and sites, for how long; what people noticed.'),
    '## Timeline',
    '',
    ...(incident.isCut ? ['More happened than is listed: the oldest is left out.', ''] : []),
    '| time | | who | what |',
    '|---|---|---|---|',
    ...rows,
    '',
    ...section('How it was found', 'Which alert, how long after it began; what would have found it earlier.'),
    ...section('Causes', 'What had to come together. Why did each gate, alert and person let it pass?'),
    ...section('What went well, and where we were lucky', ''),
    '## Actions',
    '',
    '| what | prevents, finds earlier or shortens | who | until |',
    '|---|---|---|---|',
    '| | | | |',
  ].join('\n')
}

const section = (title: string, question: string): readonly string[] => [
  `## ${title}`,
  '',
  question === '' ? TO_WRITE : `${TO_WRITE} ${question}`,
  '',
]

const timeOf = (ms: number): string => `${new Date(ms).toISOString().slice(0, 16)}Z`
const hoursOf = (ms: number): string => `${(ms / 3_600_000).toFixed(1)} h`

/** Words of people in a line of Markdown: no line, link or tag of their own. */
const inline = (text: string): string => text.replace(/\s+/g, ' ').replace(/[\\`*_[\]<>|#]/g, '\\$&')
const cell = inline
