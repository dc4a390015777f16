import LMoECore

/// How normalised text is split into words.
struct PreTokenizer: Sendable {
  /// What happens to what separates words.
  enum Behavior: Hashable, Sendable { case removed, isolated, mergedWithPrevious, mergedWithNext, contiguous }

  /// When the space's replacement is put in front.
  enum PrependScheme: Hashable, Sendable { case first, always, never }

  /// One step.
  enum Step: Hashable, Sendable {
    /// Words by a known regular expression, which leaves nothing between them.
    case words(WordPattern)
    /// Splits at a text.
    case split([UInt8], Behavior, inverted: Bool)
    case digits(individual: Bool)
    /// Replaces spaces and perhaps splits before each.
    case metaspace([UInt8], PrependScheme, splits: Bool)
    /// Puts a space in front of what does not start with one.
    case prefixSpace
  }

  private(set) var steps: [Step] = []
  /// Whether the model sees bytes, each as a character of its own.
  private(set) var isByteLevel = false

  /// Reads the section `pre_tokenizer`; null is no step.
  init(_ json: JSON?, path: String) throws(TokenizerError) {
    guard let json, !json.isNull else { return }
    try add(json, path: path, place: "pre_tokenizer")
  }

  private mutating func add(_ json: JSON, path: String, place: String) throws(TokenizerError) {
    var reader = try ComponentReader(json, path: path, place: place)
    if isByteLevel {
      throw TokenizerError(
        .unsupportedComponent, path: path, place: "\(place), after ByteLevel,", name: reader.type)
    }
    switch reader.type {
    case "Sequence":
      for (index, part) in try reader.array("pretokenizers").enumerated() {
        try add(part, path: path, place: "\(place).pretokenizers[\(index)]")
      }
    case "ByteLevel":
      if try reader.bool("add_prefix_space") { steps.append(.prefixSpace) }
      if try reader.bool("use_regex", default: true) { steps.append(.words(.gpt2)) }
      // About positions in the text, which nobody asks for here.
      _ = reader.value("trim_offsets")
      isByteLevel = true
    case "Digits": steps.append(.digits(individual: try reader.bool("individual_digits")))
    case "Metaspace": steps.append(try Self.metaspace(&reader))
    case "Split": steps.append(try Self.split(&reader))
    default: throw reader.unsupportedType()
    }
    try reader.end()
  }

  private static func metaspace(_ reader: inout ComponentReader) throws(TokenizerError) -> Step {
    let replacement = try reader.scalar("replacement")
    var scheme = try reader.choice(
      "prepend_scheme", [("always", PrependScheme.always), ("first", .first), ("never", .never)],
      default: .always)
    // Older files have this option alone; beside the other one it must agree.
    if let prefix = reader.value("add_prefix_space"), prefix.bool == false {
      if reader.value("prepend_scheme") != nil, scheme != .never {
        throw reader.invalid("add_prefix_space", prefix, "what prepend_scheme says")
      }
      scheme = .never
    }
    _ = reader.value("str_rep")
    return .metaspace(replacement, scheme, splits: try reader.bool("split", default: true))
  }

  private static func split(_ reader: inout ComponentReader) throws(TokenizerError) -> Step {
    let (text, regex) = try reader.literal("pattern")
    let behavior = try reader.choice(
      "behavior",
      [
        ("Removed", Behavior.removed), ("Isolated", .isolated), ("MergedWithPrevious", .mergedWithPrevious),
        ("MergedWithNext", .mergedWithNext), ("Contiguous", .contiguous),
      ])
    let isInverted = try reader.bool("invert")
    if let text { return .split(text, behavior, inverted: isInverted) }
    guard let pattern = WordPattern(regex: regex ?? "") else { throw reader.unsupportedPattern(regex ?? "") }
    // The pattern matches everything, so that isolating its matches and removing all else are the same.
    guard behavior == .isolated || (behavior == .removed && isInverted) else {
      throw reader.unsupported("behavior", reader.value("behavior") ?? .null, "Isolated, for this pattern")
    }
    return .words(pattern)
  }

  /// A text and the words in it.
  struct Words {
    var text: [UInt8]
    var ranges: [Range<Int>]
  }

  /// The words of a piece of text.
  ///
  /// - Parameters:
  ///   - text: The piece, normalised.
  ///   - isFirst: Whether it starts where the whole text starts.
  func words(of text: [UInt8], isFirst: Bool) -> Words {
    var words = Words(text: text, ranges: text.isEmpty ? [] : [0..<text.count])
    for step in steps {
      switch step {
      case .words(let pattern): words.scan(pattern)
      case .split(let text, let behavior, let isInverted):
        words.split(behavior) { Words.occurrences(of: text, in: $0, $1, isInverted) }
      case .digits(let isIndividual):
        words.split(isIndividual ? .isolated : .contiguous) { Words.digits(in: $0, $1) }
      case .metaspace(let replacement, let scheme, let splits):
        words.replaceSpaces(replacement, scheme, isFirst: isFirst)
        if splits { words.split(.mergedWithNext) { Words.occurrences(of: replacement, in: $0, $1, false) } }
      case .prefixSpace: words.rewrite { $1.first == 0x20 ? Array($1) : [0x20] + $1 }
      }
    }
    return words
  }
}
