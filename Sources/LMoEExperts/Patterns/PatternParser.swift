/// Reads a regular expression as Python's `re` reads it.
///
/// The grammar is that of `re`'s own parser, oddities included: `{` is a letter where no repeat can be read
/// from it, `]` is one at the start of a class, and `*` may follow a group that holds only `^` but not `^`.
struct PatternParser {
  /// The most steps of a program; counted repeats are written out.
  static let maximumSize = 20_000
  /// The most groups inside each other.
  static let maximumDepth = 100

  private let text: [Unicode.Scalar]
  private var position = 0
  private var classes: [ScalarClass] = []
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

  private var next: Unicode.Scalar? { position < text.count ? text[position] : nil }

  private mutating func skip(_ scalar: Unicode.Scalar) -> Bool {
    guard next == scalar else { return false }
    position += 1
    return true
  }

  /// Passes over up to `limit` digits, and returns their value, or 2³² if it is larger.
  private mutating func digits(_ base: UInt32, limit: Int) -> (count: Int, value: Int) {
    let start = position
    var value = 0
    while position - start < limit, let next, let digit = Self.value(of: next), digit < base {
      value = min(value * Int(base) + Int(digit), 1 << 32)
      position += 1
    }
    return (position - start, value)
  }

  private static func value(of digit: Unicode.Scalar) -> UInt32? {
    switch digit {
    case "0"..."9": digit.value - 48
    case "a"..."f": digit.value - 87
    case "A"..."F": digit.value - 55
    default: nil
    }
  }

  private func error(_ what: String, at position: Int) -> PatternError {
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

  // MARK: Classes and escapes

  private mutating func member(_ scalarClass: ScalarClass) -> PatternNode {
    classes.append(scalarClass)
    return PatternNode(.member(classes.count - 1))
  }

  private mutating func scalarClass() throws(PatternError) -> PatternNode {
    let start = position
    position += 1
    let isNegated = skip("^")
    var ranges: [ClosedRange<UInt32>] = []
    var categories: ScalarClass.Categories = []
    func add(_ item: Escape) {
      switch item {
      case .scalar(let value): ranges.append(value...value)
      case .categories(let more): categories.formUnion(more)
      case .assertion: break
      }
    }
    var isFirst = true
    while let scalar = next {
      if scalar == "]" && !isFirst { break }
      isFirst = false
      let place = position
      let low = try classItem()
      guard skip("-") else {
        add(low)
        continue
      }
      if next == nil { break }
      if next == "]" {
        add(low)
        add(.scalar(0x2D))
        break
      }
      guard case .scalar(let lower) = low, case .scalar(let upper) = try classItem(), lower <= upper else {
        throw error("a bad range in a class", at: place)
      }
      ranges.append(lower...upper)
    }
    guard skip("]") else { throw error("a class that is not closed", at: start) }
    return member(ScalarClass(ranges, categories, isNegated: isNegated))
  }

  private mutating func classItem() throws(PatternError) -> Escape {
    if next == "\\" { return try escape(isInClass: true) }
    defer { position += 1 }
    return .scalar(text[position].value)
  }

  private enum Escape {
    case scalar(UInt32)
    case categories(ScalarClass.Categories)
    case assertion(PatternAssertion)
  }

  private mutating func escape(isInClass: Bool = false) throws(PatternError) -> Escape {
    let start = position
    position += 1
    guard let scalar = next else { throw error("a backslash at its end", at: start) }
    position += 1
    switch scalar {
    case "d": return .categories(.digit)
    case "D": return .categories(.notDigit)
    case "w": return .categories(.word)
    case "W": return .categories(.notWord)
    case "s": return .categories(.space)
    case "S": return .categories(.notSpace)
    case "b": return isInClass ? .scalar(0x08) : .assertion(.wordBoundary)
    case "B" where !isInClass: return .assertion(.noWordBoundary)
    case "A" where !isInClass: return .assertion(.start)
    case "Z" where !isInClass: return .assertion(.veryEnd)
    case "a": return .scalar(0x07)
    case "f": return .scalar(0x0C)
    case "n": return .scalar(0x0A)
    case "r": return .scalar(0x0D)
    case "t": return .scalar(0x09)
    case "v": return .scalar(0x0B)
    case "x": return .scalar(try hexadecimal(2, from: start))
    case "u": return .scalar(try hexadecimal(4, from: start))
    case "U": return .scalar(try hexadecimal(8, from: start))
    case "N": throw error("a character by its name", at: start)
    case "0"..."9": return .scalar(try octal(from: start, isInClass: isInClass))
    case "a"..."z", "A"..."Z": throw error("an unknown escape \\\(scalar)", at: start)
    default: return .scalar(scalar.value)
    }
  }

  private mutating func hexadecimal(_ count: Int, from start: Int) throws(PatternError) -> UInt32 {
    let digits = digits(16, limit: count)
    guard digits.count == count, digits.value <= 0x10FFFF else {
      throw error("an escape that is no character", at: start)
    }
    return UInt32(digits.value)
  }

  /// `\0`, `\012`, `\101`; in a class also `\1` and `\12`, which elsewhere are back references.
  private mutating func octal(from start: Int, isInClass: Bool) throws(PatternError) -> UInt32 {
    position = start + 1
    let isZero = next == "0"
    let digits = digits(8, limit: 3)
    guard isZero || isInClass || digits.count == 3 else { throw error("a back reference", at: start) }
    guard digits.count > 0, digits.value <= 0o377 else {
      throw error("an escape that is no character", at: start)
    }
    return UInt32(digits.value)
  }
}
