import LMoECore

/// Which modules a configuration says to adapt: PEFT's `target_modules` and what restricts it.
///
/// The tensors in the file decide what is adapted; this says what must be among them.
struct PEFTTargets: Sendable {
  private enum Selection: Sendable {
    /// What PEFT takes for the supported families if nothing is said.
    case unspecified
    case allLinear
    case names(Set<ByteKey>)
    case pattern(ModulePattern)
    /// A regular expression outside the supported subset: nothing can be said.
    case unknown(String)
  }

  private let targets: Selection
  private let excluded: Selection
  private let layers: [Int]?
  /// What may stand before a layer's number: PEFT's `(?:^|.*?\.){pattern}`; nil where a pattern is not understood.
  private let layerPatterns: [ModulePattern]?
  private let modulesToSave: [String]

  init(_ reader: ConfigurationReader, modulesToSave: [String]) throws {
    targets = try Self.selection(reader, "target_modules") ?? .unspecified
    excluded = try Self.selection(reader, "exclude_modules") ?? .names([])
    layers = try Self.layers(reader)
    let texts: [String] =
      if let text = reader.value("layers_pattern")?.string { text.isEmpty ? [] : [text] } else {
        try reader.texts("layers_pattern") ?? []
      }
    // PEFT puts the text between others; a bar would part those too.
    layerPatterns =
      texts.count > 64 || texts.contains { $0.utf8.contains(UInt8(ascii: "|")) }
      ? nil : try? texts.map { try ModulePattern(#"(?:^|.*\.)"# + $0) }
    self.modulesToSave = modulesToSave
  }

  /// The numbers of the adapted layers; one below zero is none.
  private static func layers(_ reader: ConfigurationReader) throws -> [Int]? {
    guard let value = reader.value("layers_to_transform") else { return nil }
    let numbers = (value.array ?? [value]).map(\.int)
    guard !numbers.contains(nil) else {
      throw reader.invalid("layers_to_transform has an element that is not an index")
    }
    return numbers.isEmpty ? nil : numbers.compactMap(\.self)
  }

  private static func selection(_ reader: ConfigurationReader, _ key: String) throws -> Selection? {
    guard let value = reader.value(key) else { return nil }
    guard let text = value.string else {
      return .names(Set(try (reader.texts(key) ?? []).map { ByteKey($0) }))
    }
    if text.lowercased() == "all-linear" { return .allLinear }
    do throws(PatternError) { return .pattern(try ModulePattern(text)) } catch { return .unknown(error.what) }
  }

  /// What is not understood about the regular expression; nil if all is.
  var unknownPattern: String? {
    if case .unknown(let what) = targets { return what }
    if case .unknown(let what) = excluded { return what }
    if layerPatterns == nil, layers != nil { return "a layers_pattern that is not understood" }
    return nil
  }

  /// Steps a character of a name may take.
  var cost: Int {
    [targets, excluded].reduce(modulesToSave.count) {
      if case .pattern(let pattern) = $1 { $0 + pattern.cost } else { $0 + 1 }
    }
  }

  /// Whether the module was adapted; nil if that cannot be told.
  ///
  /// - Parameter module: Its path as PEFT had it; a linear layer or the embedding.
  func contains(_ module: String) -> Bool? {
    guard unknownPattern == nil else { return nil }
    if matches(excluded, module) || modulesToSave.contains(where: { isInside(module, $0) }) { return false }
    guard matches(targets, module) else { return false }
    guard case .names(let names) = targets, let layers else { return true }
    // An exact name is adapted whatever its layer.
    if names.contains(ByteKey(module)) { return true }
    return layer(of: module).map { layers.contains($0) } ?? false
  }

  private func matches(_ selection: Selection, _ module: String) -> Bool {
    switch selection {
    case .unspecified: return module.hasSuffix(".q_proj") || module.hasSuffix(".v_proj")
    case .allLinear: return module.hasSuffix("_proj")
    case .names(let names):
      // The path itself, or what follows one of its dots.
      let bytes = module.utf8
      if names.contains(ByteKey(module)) { return true }
      return bytes.indices.contains { index in
        bytes[index] == UInt8(ascii: ".")
          && names.contains(ByteKey(String(decoding: bytes[bytes.index(after: index)...], as: UTF8.self)))
      }
    case .pattern(let pattern): return pattern.matches(module)
    case .unknown: return false
    }
  }

  /// Whether a module is, or lies in, one that is saved whole (PEFT: `(^|.*\.)name($|\..*)`).
  private func isInside(_ module: String, _ name: String) -> Bool {
    ("." + module + ".").utf8.contains("." + name + ".")
  }

  /// The first number that stands after `layers_pattern`, or in the path.
  private func layer(of module: String) -> Int? {
    let parts = module.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
      .map { String(decoding: $0, as: UTF8.self) }
    let numbers = parts.indices.dropFirst().dropLast().compactMap { index in
      Int(parts[index]).map { (index: index, number: $0) }
    }
    guard let layerPatterns, !layerPatterns.isEmpty else { return numbers.first { $0.index >= 2 }?.number }
    for pattern in layerPatterns {
      let match = numbers.first { pattern.matches(parts[..<$0.index].joined(separator: ".")) }
      if let match { return match.number }
    }
    return nil
  }
}

extension String.UTF8View {
  /// Whether the bytes of `text` stand somewhere in these.
  func contains(_ text: String) -> Bool {
    let (bytes, wanted) = (Array(self), Array(text.utf8))
    guard bytes.count >= wanted.count else { return false }
    return (0...(bytes.count - wanted.count)).contains { start in
      bytes[start..<start + wanted.count].elementsEqual(wanted)
    }
  }
}
