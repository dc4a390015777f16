import LMoECore

/// How tokens become text: steps, one after another.
struct TokenDecoder: Sendable {
  /// One step.
  ///
  /// Each gets texts, one a token, and gives texts; all in one where `isFused` says so.
  enum Step: Hashable, Sendable {
    /// Joins tokens with spaces: what happens without a decoder.
    case spaced
    /// Characters that stand for bytes become these, and all tokens one text.
    case byteLevel
    /// Runs of `<0x0A>` become the text that these bytes are.
    case byteFallback
    /// All tokens become one text.
    case fuse
    case replace([UInt8], with: [UInt8])
    case strip([UInt8], start: Int, stop: Int)
    /// Marks become spaces; those of the first token vanish, if `dropsFirst`.
    case metaspace([UInt8], dropsFirst: Bool)
  }

  private(set) var steps: [Step] = []

  /// Reads the section `decoder`.
  init(_ json: JSON?, path: String) throws(TokenizerError) {
    guard let json, !json.isNull else {
      steps = [.spaced]
      return
    }
    try add(json, path: path, place: "decoder")
    // These look at each token by itself; behind a step that joins them they would see one.
    let joined = steps.firstIndex { $0 == .fuse || $0 == .byteLevel } ?? steps.count
    for step in steps.dropFirst(joined + 1) where step == .byteLevel || step == .byteFallback {
      throw TokenizerError(
        .unsupportedComponent, path: path, place: "decoder, after a step that joins all tokens,",
        name: step == .byteLevel ? "ByteLevel" : "ByteFallback")
    }
  }

  private mutating func add(_ json: JSON, path: String, place: String) throws(TokenizerError) {
    var reader = try ComponentReader(json, path: path, place: place)
    switch reader.type {
    case "Sequence":
      for (index, part) in try reader.array("decoders").enumerated() {
        try add(part, path: path, place: "\(place).decoders[\(index)]")
      }
    case "ByteLevel":
      // The options are those of the pre-tokenizer and mean nothing here.
      for option in ["add_prefix_space", "trim_offsets", "use_regex"] { _ = reader.value(option) }
      steps.append(.byteLevel)
    case "ByteFallback": steps.append(.byteFallback)
    case "Fuse": steps.append(.fuse)
    case "Replace":
      let (text, regex) = try reader.literal("pattern")
      guard let text else { throw reader.unsupportedPattern(regex ?? "") }
      steps.append(.replace(text, with: Array(try reader.string("content").utf8)))
    case "Strip":
      steps.append(
        .strip(
          try reader.scalar("content"), start: try reader.count("start"), stop: try reader.count("stop")))
    case "Metaspace":
      let replacement = try reader.scalar("replacement")
      var drops = try reader.choice(
        "prepend_scheme", [("always", true), ("first", true), ("never", false)], default: true)
      if reader.value("add_prefix_space")?.bool == false { drops = false }
      for option in ["str_rep", "split"] { _ = reader.value(option) }
      steps.append(.metaspace(replacement, dropsFirst: drops))
    default: throw reader.unsupportedType()
    }
    try reader.end()
  }
}
