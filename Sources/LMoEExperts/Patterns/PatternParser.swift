/// Reads a regular expression as Python's `re` reads it.
///
/// The grammar is that of `re`'s own parser, oddities included: `{` is a letter where no repeat can be read
/// from it, `]` is one at the start of a class, and `*` may follow a group that holds only `^` but not `^`.
struct PatternParser {
  /// The most steps of a program; counted repeats are written out.
  static let maximumSize = 20_000
  /// The most groups inside each other.
  static let maximumDepth = 100

  let text: [Unicode.Scalar]
  var position = 0
  var classes: [ScalarClass] = []
  private var groupNames: Set<[Unicode.Scalar]> = []

  init(_ text: String) { self.text = Array(text.unicodeScalars) }

  /// Parses all of the text.
  mutating func program() throws(PatternError) -> PatternProgram {
    let node = try alternation(depth: 0)
    // Only a closing parenthesis ends the outermost alternation early.
    if position < text.count { throw error("a parenthesis that closes nothing", at: position) }
    return PatternProgram(node, classes: classes)
  }

  // MARK: Scalars

  var next: Unicode.Scalar? { position < text.count ? text[position] : nil }

  mutating func skip(_ scalar: Unicode.Scalar) -> Bool {
    guard next == scalar else { return false }
    position += 1
    return true
  }

  /// Passes over up to `limit` digits, and returns their value, or 2³² if it is larger.
  mutating func digits(_ base: UInt32, limit: Int) -> (count: Int, value: Int) {
    let start = position
    var value = 0
    while position - start < limit, let next, let digit = Self.value(of: next), digit < base {
      value = min(value * Int(base) + Int(digit), 1 << 32)
      position += 1
    }
    return (position - start, value)
  }

  static func value(of digit: Unicode.Scalar) -> UInt32? {
    switch digit {
    case "0"..."9": digit.value - 48
    case "a"..."f": digit.value - 87
    case "A"..."F": digit.value - 55
    default: nil
    }
  }

  func error(_ what: String, at position: Int) -> PatternError {
    PatternError(what: what, position: position)
  }

  // MARK: Structure

  private mutating func alternation(depth: Int) throws(PatternError) -> PatternNode {
    let start = position
    var branches = [try sequence(depth: depth)]
    while skip("|") { branches.append(try sequence(depth: depth)) }
    return branches.count == 1 ? branches[0] : try checked(.alternation(branches), at: start)
  }

  /// What a repeat would repeat.
  private enum Last { case nothing, assertion, repetition, item }

  private mutating func sequence(depth: Int) throws(PatternError) -> PatternNode {
    // Empty groups are kept until the end: a repeat after one belongs to it.
    var nodes: [PatternNode] = []
    var size = 0
    var last = Last.nothing
    while let scalar = next, scalar != "|", scalar != ")" {
      let start = position
      var node: PatternNode?
      var kind = Last.item
      switch scalar {
      case "*", "+", "?", "{":
        guard let (minimum, maximum) = try repeatCounts() else {
          node = PatternNode(.scalar(scalar.value))
          break
        }
        if last == .repetition { throw error("a repeat of a repeat", at: start) }
        guard last == .item, let body = nodes.popLast() else {
          throw error("a repeat of nothing", at: start)
        }
        if next == "+" { throw error("a possessive repeat", at: start) }
        // A lazy repeat matches the same names.
        _ = skip("?")
        size -= body.size
        node = try checked(.repetition(body, minimum, maximum), at: start)
        kind = .repetition
      case "(": node = try group(depth: depth + 1)
      case "[": node = try scalarClass()
      case "\\":
        switch try escape() {
        case .scalar(let value): node = PatternNode(.scalar(value))
        case .categories(let categories): node = member(ScalarClass([], categories))
        case .assertion(let assertion):
          node = PatternNode(.assertion(assertion))
          kind = .assertion
        }
      default:
        position += 1
        switch scalar {
        case ".": node = PatternNode(.any)
        case "^": (node, kind) = (PatternNode(.assertion(.start)), .assertion)
        case "$": (node, kind) = (PatternNode(.assertion(.end)), .assertion)
        default: node = PatternNode(.scalar(scalar.value))
        }
      }
      // A comment is not there.
      guard let node else { continue }
      size += node.size
      if size >= Self.maximumSize { throw tooLarge(at: start) }
      nodes.append(node)
      last = kind
    }
    return .sequence(nodes)
  }

  private func checked(_ node: PatternNode, at start: Int) throws(PatternError) -> PatternNode {
    if node.size >= Self.maximumSize { throw tooLarge(at: start) }
    return node
  }

  private func tooLarge(at start: Int) -> PatternError {
    error("more than \(Self.maximumSize) steps with its repeats written out", at: start)
  }

  /// The bounds of the repeat that starts here, or nil if its brace is a letter.
  private mutating func repeatCounts() throws(PatternError) -> (minimum: Int, maximum: Int?)? {
    let start = position
    if skip("*") { return (0, nil) }
    if skip("+") { return (1, nil) }
    if skip("?") { return (0, 1) }
    position += 1
    if next == "}" { return nil }
    let low = digits(10, limit: .max)
    let high = skip(",") ? digits(10, limit: .max) : low
    guard skip("}") else {
      position = start + 1
      return nil
    }
    if max(low.value, high.value) >= Int(UInt32.max) { throw tooLarge(at: start) }
    if high.count == 0 { return (low.value, nil) }
    if high.value < low.value { throw error("a repeat with a maximum below its minimum", at: start) }
    return (low.value, high.value)
  }

  /// A group, or nil for a comment.
  private mutating func group(depth: Int) throws(PatternError) -> PatternNode? {
    let start = position
    position += 1
    if skip("?") {
      guard let kind = next else { throw error("a group that is not closed", at: start) }
      position += 1
      switch kind {
      case ":": break
      case "P" where skip("<"): try groupName(of: start)
      case "P" where next == "=": throw error("a back reference", at: start)
      case "#":
        // An escaped parenthesis does not close a comment.
        while let scalar = next, scalar != ")" { position += scalar == "\\" ? 2 : 1 }
        guard skip(")") else { throw error("a comment that is not closed", at: start) }
        return nil
      case "=", "!": throw error("a lookahead", at: start)
      case "<" where next == "=" || next == "!": throw error("a lookbehind", at: start)
      case "(": throw error("a conditional group", at: start)
      case ">": throw error("an atomic group", at: start)
      case "a", "i", "L", "m", "s", "t", "u", "x", "-": throw error("an inline flag", at: start)
      default: throw error("an unknown kind of group", at: start)
      }
    }
    if depth > Self.maximumDepth { throw error("groups more than \(Self.maximumDepth) deep", at: start) }
    let node = try alternation(depth: depth)
    guard skip(")") else { throw error("a group that is not closed", at: start) }
    return node
  }

  private mutating func groupName(of start: Int) throws(PatternError) {
    var name: [Unicode.Scalar] = []
    while let scalar = next, scalar != ">" {
      let isAllowed =
        scalar == "_" || (name.isEmpty ? scalar.properties.isXIDStart : scalar.properties.isXIDContinue)
      guard isAllowed else { throw error("a group name that is not an identifier", at: position) }
      name.append(scalar)
      position += 1
    }
    guard skip(">"), !name.isEmpty else { throw error("a group name that is not an identifier", at: start) }
    guard groupNames.insert(name).inserted else { throw error("two groups of one name", at: start) }
  }
}
