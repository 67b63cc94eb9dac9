import type { Browser, Page } from 'playwright-core'
import { Running } from '../node/cli-process.ts'

/** Waits for a line of a process that is no JSON. */
export async function lineOf(running: Running, pattern: RegExp): Promise<RegExpExecArray> {
  for (let i = 0; i < 600; i++) {
    for (const line of running.lines) {
      const found = pattern.exec(line)
      if (found !== null) return found
    }
    if (running.child.exitCode !== null) throw new Error((await running.ended).stderr)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`no line ${pattern}: ${running.lines.join('\n')}`)
}

/** `kinglet device page` in a process of its own. */
export async function servedPage(
  ...args: readonly string[]
): Promise<{ readonly running: Running; readonly url: string }> {
  const running = new Running(['device', 'page', '--port', '0', ...args])
  const [, url = ''] = await lineOf(running, /(http:\/\/\S+)/)
  return { running, url }
}

/** The agent's page in a browser, with what a test asks of it. */
export class AgentPage {
  readonly page: Page
  readonly errors: string[] = []

  private constructor(page: Page) {
    this.page = page
    page.on('pageerror', (error) => this.errors.push(String(error)))
  }

  static async open(browser: Browser, url: string, settings: Record<string, unknown> = {}): Promise<AgentPage> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 844 } })
    const kept = JSON.stringify(JSON.stringify(settings))
    await context.addInitScript(
      `localStorage.getItem('kinglet-agent') ?? localStorage.setItem('kinglet-agent', ${kept})`,
    )
    const agent = new AgentPage(await context.newPage())
    await agent.page.goto(url)
    return agent
  }

  text(id: string): Promise<string> {
    return this.page.locator(`#${id}`).innerText()
  }

  /** Waits until an element's text matches; fails with all that the page says. */
  async until(id: string, pattern: RegExp, timeoutMs = 180_000): Promise<string> {
    const end = performance.now() + timeoutMs
    for (;;) {
      const text = (await this.page.locator(`#${id}`).textContent()) ?? ''
      if (pattern.test(text)) return text
      if (performance.now() > end) {
        const events = await this.page.locator('#events').innerText()
        const trouble = await this.page.locator('#trouble').textContent()
        throw new Error(`#${id} is "${text}", not ${pattern}; ${trouble}\n${events}\n${this.errors.join('\n')}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** Hears a file to its end.
   *  @returns labels of its wakes */
  async hear(name: string, buffer: Buffer): Promise<string[]> {
    await this.page.locator('#file').setInputFiles({ name, mimeType: 'audio/wav', buffer })
    const said = await this.until('played', new RegExp(`${name}, [0-9.]+ s: `))
    return /wakes?: (.*)$/.exec(said)?.[1]?.split(', ') ?? []
  }
}
