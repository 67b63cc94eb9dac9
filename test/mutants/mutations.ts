import ts from 'typescript'

/** One deliberate fault: `text` in the place of `start` to `end` of a file. */
export interface Mutant {
  /** path below the root, with slashes */
  readonly file: string
  readonly start: number
  readonly end: number
  readonly text: string
  /** from 1 on */
  readonly line: number
}

const { SyntaxKind: Kind } = ts

const OPERATORS: Readonly<Partial<Record<ts.SyntaxKind, string>>> = {
  [Kind.LessThanToken]: '<=',
  [Kind.LessThanEqualsToken]: '<',
  [Kind.GreaterThanToken]: '>=',
  [Kind.GreaterThanEqualsToken]: '>',
  [Kind.EqualsEqualsEqualsToken]: '!==',
  [Kind.ExclamationEqualsEqualsToken]: '===',
  [Kind.AmpersandAmpersandToken]: '||',
  [Kind.BarBarToken]: '&&',
  [Kind.PlusToken]: '-',
  [Kind.MinusToken]: '+',
  [Kind.AsteriskToken]: '/',
  [Kind.SlashToken]: '*',
  [Kind.PercentToken]: '*',
  [Kind.PlusEqualsToken]: '-=',
  [Kind.MinusEqualsToken]: '+=',
  [Kind.LessThanLessThanToken]: '>>',
  [Kind.GreaterThanGreaterThanToken]: '<<',
  [Kind.GreaterThanGreaterThanGreaterThanToken]: '<<',
}

/** In text that is SQL. What a schema says is left alone: a migration is what it was. */
const SQL = /\b(?:SELECT|UPDATE|INSERT|DELETE|WHERE)\b/
const SQL_WORDS: readonly (readonly [RegExp, string])[] = [
  [/ <= /g, ' < '],
  [/ >= /g, ' > '],
  [/ < /g, ' <= '],
  [/ > /g, ' >= '],
  [/ != /g, ' = '],
  [/\bAND\b/g, 'OR'],
  [/\bOR\b(?! (?:REPLACE|IGNORE))/g, 'AND'],
  [/\bDESC\b/g, 'ASC'],
  [/\bIS NOT NULL\b/g, 'IS NULL'],
  [/\bIS NULL\b/g, 'IS NOT NULL'],
  [/\bNOT EXISTS\b/g, 'EXISTS'],
  [/\bmax\(/g, 'min('],
  [/\bmin\(/g, 'max('],
  [/ \+ /g, ' - '],
]

/** Chosen: numbers up to this are counts and places, and wrong by one; those above are bounds and times, which nobody means to the last
 *  unit, and are wrong by a factor of two. */
const COUNTS_TO = 16

/** All faults of one file, in the order of its text: operators turned round, conditions and early exits gone, statements gone, numbers
 *  wrong, words of SQL turned round. Types, imports and what an error says are left alone. */
export function mutationsOf(file: string, source: string): Mutant[] {
  const parsed = ts.createSourceFile(file, source, ts.ScriptTarget.ESNext, true)
  const found: Mutant[] = []
  const add = (start: number, end: number, text: string): void => {
    const { line } = parsed.getLineAndCharacterOfPosition(start)
    found.push({ file, start, end, text, line: line + 1 })
  }
  const replace = (node: ts.Node, text: string): void => add(node.getStart(parsed), node.getEnd(), text)
  const visit = (node: ts.Node): void => {
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return
    if (isErrorText(node)) return
    mutate(node, parsed, replace, add)
    ts.forEachChild(node, visit)
  }
  visit(parsed)
  return found
}

function mutate(
  node: ts.Node,
  parsed: ts.SourceFile,
  replace: (node: ts.Node, text: string) => void,
  add: (start: number, end: number, text: string) => void,
): void {
  if (ts.isBinaryExpression(node)) {
    const operator = OPERATORS[node.operatorToken.kind]
    const joinsText = node.operatorToken.kind === Kind.PlusToken && hasText(node)
    if (operator !== undefined && !joinsText) replace(node.operatorToken, operator)
  } else if (ts.isPrefixUnaryExpression(node) && node.operator === Kind.ExclamationToken) {
    replace(node, node.operand.getText(parsed))
  } else if (ts.isConditionalExpression(node)) {
    replace(node.condition, `!(${node.condition.getText(parsed)})`)
  } else if (ts.isIfStatement(node)) {
    if (node.elseStatement === undefined) replace(node, ';')
    else replace(node.expression, `!(${node.expression.getText(parsed)})`)
  } else if (ts.isExpressionStatement(node) && isEffect(node.expression)) {
    replace(node, ';')
  } else if (ts.isNumericLiteral(node)) {
    const value = Number(node.getText(parsed).replaceAll('_', ''))
    if (Number.isInteger(value) && value <= COUNTS_TO) {
      replace(node, String(value + 1))
      if (value > 0) replace(node, String(value - 1))
    } else replace(node, String(value * 2))
  } else if (node.kind === Kind.TrueKeyword || node.kind === Kind.FalseKeyword) {
    replace(node, node.kind === Kind.TrueKeyword ? 'false' : 'true')
  } else if (ts.isPropertyAccessExpression(node) && node.expression.getText(parsed) === 'Math') {
    const other = { min: 'max', max: 'min', ceil: 'floor', floor: 'ceil' }[node.name.text]
    if (other !== undefined) replace(node.name, other)
  } else if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node)) {
    const whole = ts.isTemplateSpan(node.parent) || ts.isTemplateHead(node) ? templateOf(node) : node
    if (!SQL.test(whole.getText(parsed))) return
    const from = node.getStart(parsed)
    for (const [word, text] of SQL_WORDS) {
      for (const {
        index,
        0: { length },
      } of node.getText(parsed).matchAll(word)) {
        add(from + index, from + index + length, text)
      }
    }
  }
}

/** A statement whose absence is felt: a call, an assignment, a count; not the call of the constructor above. */
function isEffect(expression: ts.Expression): boolean {
  if (ts.isCallExpression(expression)) return expression.expression.kind !== Kind.SuperKeyword
  if (ts.isVoidExpression(expression) || ts.isAwaitExpression(expression)) return true
  if (ts.isBinaryExpression(expression)) {
    const { kind } = expression.operatorToken
    return kind >= Kind.FirstAssignment && kind <= Kind.LastAssignment
  }
  return ts.isPostfixUnaryExpression(expression)
}

/** Whether a sum has text in it, so that its sign is no arithmetic. */
function hasText(node: ts.Expression): boolean {
  if (ts.isStringLiteralLike(node) || ts.isTemplateExpression(node)) return true
  return ts.isBinaryExpression(node) && (hasText(node.left) || hasText(node.right))
}

/** The words of an error: which they are is for people to judge. */
function isErrorText(node: ts.Node): boolean {
  if (ts.isNewExpression(node)) return /Error$|Failure$/.test(node.expression.getText())
  return ts.isCallExpression(node) && /^(?:logger|this\.#parts\.logger|present)\b/.test(node.expression.getText())
}

function templateOf(node: ts.Node): ts.Node {
  let whole = node
  while (!ts.isTemplateExpression(whole)) whole = whole.parent
  return whole
}

/** The source with the fault in it. */
export const mutated = (source: string, { start, end, text }: Mutant): string =>
  source.slice(0, start) + text + source.slice(end)
