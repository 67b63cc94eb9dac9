/** The status page. Reads the API, listens to /v1/stream, writes text nodes only (nothing of the data becomes markup). */

const { threeDigits, uPlot } = globalThis
const HOURS = 120
const $ = (id) => document.getElementById(id)

/** Element with a class, attributes by dataset-free plain assignment, and children (strings become text). */
function h(tag, className, ...children) {
  const element = document.createElement(tag)
  if (className) element.className = className
  element.append(...children.filter((child) => child !== null && child !== undefined))
  return element
}

const number = (value) => (value === null || value === undefined ? '–' : threeDigits(value))
const percent = (value) => (value === null || value === undefined ? '–' : `${number(100 * value)} %`)
const day = (ms) =>
  new Date(ms).toLocaleString('en-GB', {
    day: 'numeric',
    month: 'short',
    hour: '2-digit',
    minute: '2-digit',
    timeZone: 'UTC',
  })

/** Time of day, or the date at midnight. @param seconds Unix time */
const hourLabel = (seconds) => {
  const date = new Date(seconds * 1000)
  const options = date.getUTCHours() === 0 ? { day: 'numeric', month: 'short' } : { hour: '2-digit', minute: '2-digit' }
  return date.toLocaleString('en-GB', { ...options, timeZone: 'UTC' })
}

let token = sessionStorage.getItem('kinglet-token')
const headers = () => (token ? { authorization: `Bearer ${token}` } : {})

class Unauthorized extends Error {}

async function read(path) {
  const response = await fetch(path, { headers: headers() })
  if (response.status === 401) throw new Unauthorized()
  if (!response.ok) throw new Error(`${path}: ${response.status}`)
  return response.json()
}

function tile(name, value, unit, note) {
  return h(
    'div',
    'tile',
    h('div', 'name', name),
    h('div', 'value', value, h('small', '', unit ? ` ${unit}` : '')),
    h('div', 'note', note),
  )
}

function showSummary(summary) {
  const { devices, fleet, productions, running } = summary
  const several = new Set(productions.map(({ family: of }) => of)).size > 1
  const names = productions.map(({ name, family: of, boards }) => {
    const where = [...(several ? [of] : []), ...(productions.length > 1 && boards.length > 0 ? boards : [])]
    return where.length === 0 ? name : `${name} (${where.join(', ')})`
  })
  $('production').textContent =
    names.length === 0 ? 'no model in production yet' : `${names.join(', ')} in production · ${day(summary.atMs)} UTC`
  const mix = running.map(({ name, model, devices: n }) => `${n} on ${name ?? model.slice(0, 8)}`).join(', ')
  const unkeyed = devices.unkeyed > 0 ? ` · ${devices.unkeyed} without a key` : ''
  $('tiles').replaceChildren(
    tile('Devices', String(devices.reporting), `of ${devices.enrolled}`, `${mix || 'none has reported'}${unkeyed}`),
    tile('Duty cycle', percent(fleet.dutyCycle), '', `${number(fleet.wakesPerHour)} wakes per hour`),
    tile('False wakes', number(fleet.falseWakesPerHour), 'per hour', `${percent(fleet.falseWakeRate)} of judged wakes`),
    tile(
      'Energy',
      number(fleet.energyJoulePerDeviceDay),
      'J a day',
      `per device; battery ${percent(summary.batteryPermille === null ? null : summary.batteryPermille / 1000)}`,
    ),
  )
  const head = h(
    'thead',
    '',
    h('tr', '', ...['Model', 'Duty', 'Wakes/h', 'False/h', 'Verified/h', 'J/day'].map((text) => h('th', '', text))),
  )
  const rows = summary.models.map((row) =>
    h(
      'tr',
      '',
      ...[
        row.name ?? row.model.slice(0, 8),
        percent(row.dutyCycle),
        number(row.wakesPerHour),
        number(row.falseWakesPerHour),
        number(row.verifiedWakesPerHour),
        number(row.energyJoulePerDeviceDay),
      ].map((text) => h('td', '', text)),
    ),
  )
  $('models').replaceChildren(head, h('tbody', '', ...rows))
}

const causes = { site: 'Site', gateway: 'Gateway', rollout: 'Rollout', family: 'Family', code: '' }

/** One box a cause; what is in it opens by a click where there is more than one alert. */
function showAlerts({ groups, isCut }) {
  const line = ({ severity, title, words, sinceMs, acknowledged, silence }) =>
    h(
      'div',
      '',
      h('b', '', `${severity} ${title}`),
      ` ${words}`,
      h('span', 'empty', ` Since ${day(sinceMs)}.`),
      acknowledged && h('span', 'empty', ` ${acknowledged.by}: ${acknowledged.reason}`),
      silence && h('span', 'empty', ` Silenced until ${day(silence.untilMs)} by ${silence.by}: ${silence.reason}`),
    )
  const box = ({ cause, severity, sinceMs, codes, alerts, isUntouched }) => {
    const total = Object.values(codes).reduce((sum, count) => sum + count, 0)
    if (total === 1) return h('div', 'alert', line(alerts[0]))
    const [, kind, name] = /^(\w+):(.*)$/.exec(cause) ?? [cause, 'code', cause]
    const kinds = Object.entries(codes).map(([code, count]) => (count === 1 ? code : `${count} × ${code}`))
    const details = h(
      'details',
      '',
      h(
        'summary',
        '',
        h('b', '', `${severity} ${causes[kind] ?? ''} ${name}: ${total} alerts.`),
        ` ${kinds.join(', ')}.`,
        h('span', 'empty', ` Since ${day(sinceMs)}.${isUntouched ? '' : ' Taken on.'}`),
      ),
      ...alerts.map(line),
      total > alerts.length ? h('div', 'empty', `and ${total - alerts.length} more`) : null,
    )
    // What somebody has opened stays open when the page is read anew.
    details.open = openCauses.has(cause)
    details.addEventListener('toggle', () => openCauses[details.open ? 'add' : 'delete'](cause))
    return h('div', 'alert', details)
  }
  $('alerts').replaceChildren(
    ...groups.map(box),
    isCut ? h('div', 'empty', 'There are older alerts, not shown here.') : '',
  )
}
const openCauses = new Set()

function gateTable(gate) {
  const head = ['', 'Canary', 'Control', 'Ratio', 'Roll back at', 'Advance at']
  const test = (reading) => (reading ? `${number(reading.logE)} of ${number(reading.threshold)}` : '–')
  const arm = (summary, events, atRisk) => {
    if (summary) return `${number(summary.rate)} (${summary.devices} devices)`
    return atRisk ? `${events} of ${atRisk} devices` : '–'
  }
  const rows = gate.metrics.map((metric) => [
    metric.words,
    arm(metric.canary, metric.first?.canary, metric.first?.canaryAtRisk),
    arm(metric.control, metric.first?.control, metric.first?.controlAtRisk),
    metric.ratio === null
      ? '–'
      : `${number(metric.ratio)} (${number(metric.interval[0])}–${number(metric.interval[1])})`,
    test(metric.rollback),
    test(metric.advance),
  ])
  for (const { metric: name, slice } of [...gate.reasons, ...(gate.advice ?? [])]) {
    if (!slice) continue
    const index = gate.slices.findIndex(({ by, value }) => by === slice.by && value === slice.value)
    const metric = gate.metrics.find((each) => each.name === name)
    const own = metric.slices[index]
    rows.push([
      `${metric.words}, ${slice.by} ${slice.value}`,
      arm(own.canary, own.first?.canary, own.first?.canaryAtRisk),
      arm(own.control, own.first?.control, own.first?.controlAtRisk),
      own.ratio === null ? '–' : number(own.ratio),
      '–',
      '–',
    ])
  }
  const { started, failed } = gate.installs
  rows.push([
    'failed installs',
    `${failed} of ${started}`,
    `${percent(gate.installs.p0)} allowed`,
    '–',
    test(gate.installs),
    '–',
  ])
  return h(
    'div',
    'scroll',
    h(
      'table',
      '',
      h('thead', '', h('tr', '', ...head.map((text) => h('th', '', text)))),
      h('tbody', '', ...rows.map((row) => h('tr', '', ...row.map((text) => h('td', '', text))))),
    ),
  )
}

/** The family that the page shows; '': all of them. */
let family = ''

/** Offers the families where there are several. */
function showFamilies({ families }) {
  const select = $('family')
  select.hidden = families.length < 2
  if (!families.some(({ name }) => name === family)) family = ''
  const options = [['', 'all families'], ...families.map(({ name, devices }) => [name, `${name} (${devices})`])]
  select.replaceChildren(
    ...options.map(([value, text]) => Object.assign(h('option', '', text), { value, selected: value === family })),
  )
}

const opened = new Set()

/** chosen: what is open, all of it, and of what has ended so many that the page stays one */
const ROLLOUTS_SHOWN = 8

function showRollouts(rollouts) {
  if (rollouts.length === 0) return $('rollouts').replaceChildren(h('p', 'empty', 'No rollout has been started.'))
  $('rollouts').replaceChildren(
    ...rollouts.map((rollout) => {
      const stages = rollout.percents.map((share, i) => {
        const stage = i + 1
        const bad = rollout.state === 'rolled-back' && stage === rollout.stage
        const done = rollout.state === 'completed' || stage < rollout.stage
        return h(
          'div',
          bad ? 'bad' : done ? 'done' : stage === rollout.stage ? 'now' : '',
          h('i', ''),
          rollout.manualStages.includes(share) ? `${share} %, then a person` : `${share} %`,
        )
      })
      const hours = rollout.hoursToDecision === null ? '' : ` · decided after ${number(rollout.hoursToDecision)} h`
      const details = h('details', '')
      if (rollout.gate) {
        details.append(h('summary', '', 'The numbers of the gate'), gateTable(rollout.gate))
        details.open = opened.has(rollout.id)
        details.addEventListener('toggle', () => opened[details.open ? 'add' : 'delete'](rollout.id))
      }
      return h(
        'article',
        'rollout',
        h(
          'div',
          'head',
          h('span', 'model', rollout.model),
          $('family').hidden ? null : h('span', 'badge', rollout.family),
          h('span', `badge ${rollout.state}`, rollout.state),
          rollout.experimentHours === null ? null : h('span', 'badge', `experiment of ${rollout.experimentHours} h`),
          rollout.cohort ? h('span', 'badge', rollout.cohort) : null,
          h(
            'span',
            'meta',
            `over ${rollout.previous.name} · ${rollout.evidence}${rollout.policyName ? ` · policy ${rollout.policyName}` : ''} · ${rollout.devicesExposed} devices exposed${rollout.devicesUnkeyed > 0 ? `, ${rollout.devicesUnkeyed} without a key` : ''} · started ${day(rollout.createdMs)}${hours}`,
          ),
        ),
        h('div', 'stages', ...stages),
        h('p', 'why', rollout.why),
        rollout.gate ? details : null,
      )
    }),
  )
}

function showAudit({ entries }) {
  $('audit').replaceChildren(
    ...entries.map(({ atMs, actor, action, subject, detail }) => {
      const why = detail?.why ?? detail?.reason
      return h(
        'li',
        '',
        h('time', '', day(atMs)),
        `${action} ${subject} by ${actor}`,
        why ? h('div', 'empty', why) : null,
      )
    }),
  )
}

const charts = {}
let bands = []

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim()
}

function drawBands(plot) {
  const { ctx, bbox } = plot
  ctx.save()
  ctx.beginPath()
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height)
  ctx.clip()
  for (const [i, { from, to, label, bad }] of bands.entries()) {
    const left = plot.valToPos(from, 'x', true)
    const right = plot.valToPos(to, 'x', true)
    ctx.fillStyle = css(bad ? '--band-bad' : '--band')
    ctx.fillRect(left, bbox.top, Math.max(2, right - left), bbox.height)
    ctx.fillStyle = css('--soft')
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`
    ctx.textBaseline = 'top'
    ctx.textAlign = 'left'
    if (left >= bbox.left)
      ctx.fillText(label, left + 4 * devicePixelRatio, bbox.top + (3 + 13 * (i % 3)) * devicePixelRatio)
  }
  ctx.restore()
}

function chart(id, title, color, format) {
  const host = $(id)
  const axis = {
    stroke: () => css('--soft'),
    grid: { stroke: () => css('--line'), width: 1 },
    ticks: { show: false },
    font: '12px system-ui, sans-serif',
  }
  const options = {
    title,
    width: host.clientWidth,
    height: 190,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
    legend: { live: true },
    cursor: { drag: { x: false, y: false } },
    scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.15 : 1] } },
    series: [
      { value: (_, v) => (v === null || v === undefined ? '–' : day(v * 1000)), label: 'hour' },
      {
        label: title.toLowerCase(),
        stroke: () => css(color),
        width: 2,
        points: { show: false },
        value: (_, v) => (v === null || v === undefined ? '–' : format(v)),
      },
    ],
    axes: [
      { ...axis, space: 64, values: (_, splits) => splits.map(hourLabel) },
      { ...axis, size: 56, values: (_, splits) => splits.map(format) },
    ],
    hooks: { drawClear: [drawBands] },
  }
  charts[id] = new uPlot(options, [[], []], host)
  new ResizeObserver(() => charts[id].setSize({ width: host.clientWidth, height: 190 })).observe(host)
}

function showSeries({ points, atMs }, rollouts) {
  // Rollouts of several families lie over each other: their names are written below each other.
  bands = rollouts.map(({ model, createdMs, endedMs, state }) => ({
    from: createdMs / 1000,
    to: (endedMs ?? atMs) / 1000,
    label: model,
    bad: state === 'rolled-back',
  }))
  // The running hour has only some of the devices' reports.
  const full = points.slice(0, -1)
  const x = full.map(({ hourMs }) => hourMs / 1000)
  charts['chart-false'].setData([x, full.map(({ falseWakesPerHour }) => falseWakesPerHour)])
  charts['chart-duty'].setData([x, full.map(({ dutyCycle }) => dutyCycle)])
}

let running = false
let again = false

/** Reads everything; at most one at a time, and at most about once a second however fast events come. */
async function refresh() {
  if (running) {
    again = true
    return
  }
  running = true
  try {
    showFamilies(await read('/v1/families'))
    const of = family === '' ? '' : `&family=${family}`
    const [summary, series, open, recent, alerts, audit] = await Promise.all(
      [
        ...[`/v1/fleet/summary?hours=24${of}`, `/v1/fleet/series?hours=${HOURS}${of}`],
        ...[`/v1/rollouts?state=open&limit=500${of}`, `/v1/rollouts?limit=50${of}`],
        ...[`/v1/alerts/groups?${of.slice(1)}`, '/v1/audit?limit=40'],
      ].map(read),
    )
    const openIds = new Set(open.rollouts.map(({ id }) => id))
    const ended = recent.rollouts.filter(({ id }) => !openIds.has(id))
    const rollouts = [...open.rollouts, ...ended]
    showSummary(summary)
    showRollouts([...open.rollouts, ...ended.slice(0, ROLLOUTS_SHOWN)])
    showSeries(series, rollouts)
    showAlerts(alerts)
    showAudit(audit)
    $('login').hidden = true
    document.querySelector('main').hidden = false
  } finally {
    setTimeout(() => {
      running = false
      if (again) {
        again = false
        refresh().catch(show)
      }
    }, 1000)
  }
}

function state(name, text) {
  $('live').className = name
  $('live').querySelector('.text').textContent = text
}

function show(error) {
  if (error instanceof Unauthorized) {
    $('login').hidden = false
    document.querySelector('main').hidden = true
    state('off', 'no access')
  } else state('off', 'no connection, trying again')
}

/** Server-sent events over fetch, since EventSource cannot send the token. */
async function listen() {
  let lastId = null
  let delayMs = 1000
  while (true) {
    try {
      const response = await fetch('/v1/stream', {
        headers: { ...headers(), ...(lastId === null ? {} : { 'last-event-id': lastId }) },
      })
      if (response.status === 401) throw new Unauthorized()
      if (!response.ok) throw new Error(String(response.status))
      state('on', 'live')
      delayMs = 1000
      await refresh()
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
      let rest = ''
      while (true) {
        const { value, done } = await reader.read()
        if (done) break
        const lines = (rest + value).split('\n')
        rest = lines.pop()
        let heard = false
        for (const line of lines) {
          if (line.startsWith('id:')) lastId = line.slice(3).trim()
          else if (line.startsWith('event:')) heard = true
        }
        if (heard) refresh().catch(show)
      }
      state('off', 'no connection, trying again')
    } catch (error) {
      show(error)
      if (error instanceof Unauthorized) return
    }
    await new Promise((resolve) => setTimeout(resolve, delayMs))
    delayMs = Math.min(30_000, delayMs * 2)
  }
}

$('family').addEventListener('change', () => {
  family = $('family').value
  refresh().catch(show)
})

$('login').addEventListener('submit', (event) => {
  event.preventDefault()
  token = $('token').value.trim()
  sessionStorage.setItem('kinglet-token', token)
  listen()
})

chart('chart-false', 'False wakes per listening hour', '--gold', (value) => number(value))
chart('chart-duty', 'Duty cycle', '--blue', (value) => `${number(100 * value)} %`)
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const plot of Object.values(charts)) plot.redraw()
})
listen()
