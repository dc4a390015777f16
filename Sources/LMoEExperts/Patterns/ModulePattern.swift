/// A regular expression over module names, as PEFT's configurations hold them.
///
/// It means what Python's `re` takes it to mean, as far as a yes or no can tell, and answers in time
/// proportional to the pattern times the name, whoever wrote the pattern:
///
///     try ModulePattern(#".*\.(q|v)_proj"#).matches("model.layers.0.self_attn.q_proj")  // true
///     try ModulePattern(suffixKey: "q_proj").matches("model.layers.0.self_attn.q_proj")  // true
///
/// What needs more than a finite automaton is refused: lookarounds, back references, conditional and atomic
/// groups, possessive repeats. So are inline flags and characters by name, and whatever Python refuses.
struct ModulePattern: Sendable {
  /// The longest pattern, in scalars.
  static let maximumLength = 4096

  private let program: PatternProgram
  /// A key of names and dots alone, which nearly all are: it is compared without the automaton.
  private let plainKey: [UInt8]?
  /// Whether the whole name must match, or a beginning of it.
  private let isWhole: Bool

  /// A pattern that a whole name must match, as with `re.fullmatch`: `target_modules` given as a string.
  init(_ pattern: String) throws(PatternError) {
    try Self.checkLength(pattern)
    var parser = PatternParser(pattern)
    program = try parser.program()
    plainKey = nil
    isWhole = true
  }

  /// A key of `rank_pattern` or `alpha_pattern`, which PEFT matches with `re.match(rf"(.*\.)?({key})$", name)`.
  init(suffixKey key: String) throws(PatternError) {
    try Self.checkLength(key)
    // The text is put together as PEFT does it: a key such as `a)|(b` means what it means there.
    let opening = #"(.*\.)?("#
    var parser = PatternParser(opening + key + ")$")
    do {
      program = try parser.program()
    } catch {
      let position = error.position - opening.unicodeScalars.count
      throw PatternError(what: error.what, position: min(max(position, 0), key.unicodeScalars.count))
    }
    plainKey = key.utf8.allSatisfy(Self.isPlain) ? Array(key.utf8) : nil
    isWhole = false
  }

  /// How many steps a scalar of a name may take, and a measure of the memory held.
  ///
  /// At most ``PatternParser/maximumSize``: whoever reads many patterns adds it up.
  var size: Int { program.size }

  /// Steps a scalar of a name may take.
  var cost: Int { plainKey == nil ? size : 1 }

  /// Whether the pattern matches `name`.
  func matches(_ name: String) -> Bool {
    if let plainKey, name.utf8.allSatisfy(Self.isPlain) { return Self.ends(name, with: plainKey) }
    return matchesByProgram(name)
  }

  /// The same, by the automaton alone.
  func matchesByProgram(_ name: String) -> Bool {
    program.matches(Array(name.unicodeScalars), isWhole: isWhole)
  }

  /// Whether a byte means itself in a pattern, or, as a dot, any one of these.
  private static func isPlain(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."):
      true
    default: false
    }
  }

  /// Whether `name` is, or ends after a dot in, `key`, whose dots stand for any byte.
  private static func ends(_ name: String, with key: [UInt8]) -> Bool {
    let dot = UInt8(ascii: ".")
    let name = Array(name.utf8)
    let start = name.count - key.count
    guard start == 0 || (start > 0 && name[start - 1] == dot) else { return false }
    return zip(key, name[start...]).allSatisfy { $0 == dot || $0 == $1 }
  }

  private static func checkLength(_ pattern: String) throws(PatternError) {
    // A text of a gigabyte is not counted to its end.
    if pattern.unicodeScalars.dropFirst(maximumLength).isEmpty { return }
    throw PatternError(what: "more than \(maximumLength) characters", position: maximumLength)
  }
}

/// Why a pattern was refused.
struct PatternError: Error, Hashable {
  /// What the pattern has and may not have, to follow "it has": "a lookahead", "an unknown escape \q".
  let what: String
  /// Where, as a count of scalars from the start of the pattern.
  let position: Int
}

/// A class of scalars: ranges and Python's categories.
struct ScalarClass: Sendable {
  struct Categories: OptionSet {
    let rawValue: UInt8
    static let digit = Categories(rawValue: 1)
    static let notDigit = Categories(rawValue: 2)
    static let word = Categories(rawValue: 4)
    static let notWord = Categories(rawValue: 8)
    static let space = Categories(rawValue: 16)
    static let notSpace = Categories(rawValue: 32)
  }

  private var ranges: [ClosedRange<UInt32>] = []
  private let categories: Categories
  private let isNegated: Bool

  init(_ ranges: [ClosedRange<UInt32>] = [], _ categories: Categories = [], isNegated: Bool = false) {
    self.categories = categories
    self.isNegated = isNegated
    // Apart and in order, so that a long class costs no more than a few comparisons a step.
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = self.ranges.last, range.lowerBound <= last.upperBound {
        let upper = max(last.upperBound, range.upperBound)
        self.ranges[self.ranges.count - 1] = last.lowerBound...upper
      } else {
        self.ranges.append(range)
      }
    }
  }

  func contains(_ scalar: Unicode.Scalar) -> Bool {
    (isInRanges(scalar.value) || (!categories.isEmpty && isInCategories(scalar))) != isNegated
  }

  private func isInRanges(_ value: UInt32) -> Bool {
    var low = 0
    var high = ranges.count
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].upperBound < value { low = middle + 1 } else { high = middle }
    }
    return low < ranges.count && ranges[low].lowerBound <= value
  }

  private func isInCategories(_ scalar: Unicode.Scalar) -> Bool {
    (categories.contains(.digit) && Self.isDigit(scalar))
      || (categories.contains(.notDigit) && !Self.isDigit(scalar))
      || (categories.contains(.word) && Self.isWord(scalar))
      || (categories.contains(.notWord) && !Self.isWord(scalar))
      || (categories.contains(.space) && Self.isSpace(scalar))
      || (categories.contains(.notSpace) && !Self.isSpace(scalar))
  }

  /// Whether `\d` takes it.
  static func isDigit(_ scalar: Unicode.Scalar) -> Bool {
    scalar.isASCII ? ("0"..."9").contains(scalar) : scalar.properties.generalCategory == .decimalNumber
  }

  /// Whether `\w` takes it: letters, whatever has a numeric value, and the underscore; no combining marks.
  static func isWord(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.isASCII {
      return ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar) || ("0"..."9").contains(scalar)
        || scalar == "_"
    }
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return true
    default: return scalar.properties.numericType != nil
    }
  }

  /// Whether `\s` takes it: Python's list, which has the separators U+001C to U+001F.
  static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F,
      0x3000:
      true
    default: false
    }
  }
}
