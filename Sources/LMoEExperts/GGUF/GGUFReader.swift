import LMoECore
import LMoEFormat

/// Reads typed values of the keys of one architecture; every error names the file and the key.
struct GGUFReader {
  let file: GGUFFile
  private let prefix: String
  /// Keys that were asked for.
  private var known: Set<ByteKey> = []

  init(_ file: GGUFFile, architecture: String) {
    (self.file, prefix) = (file, architecture + ".")
  }

  private mutating func value(_ key: String) -> (name: String, value: GGUFValue?) {
    let name = prefix + key
    known.insert(ByteKey(name))
    return (name, file.value(name))
  }

  mutating func integer(_ key: String) throws -> Int? {
    let (name, value) = value(key)
    guard let value else { return nil }
    // Sizes of every layer, where they are one and the same.
    if let first = value.elements?.first, let number = first.integer,
      value.elements?.allSatisfy({ $0 == first }) == true
    {
      return number
    }
    guard let number = value.integer, number >= 0 else { throw invalid(name, "\(value.shortText)") }
    return number
  }

  mutating func required(_ key: String) throws -> Int {
    guard let number = try integer(key), number > 0 else { throw invalid(prefix + key, "missing or 0") }
    return number
  }

  /// A number; one that was rounded to float32 is the shortest that rounds to it, as configurations have it.
  mutating func number(_ key: String) throws -> Double? {
    let (name, value) = value(key)
    guard let value else { return nil }
    if case .f32(let float) = value, float.isFinite, let shortest = Double("\(float)") { return shortest }
    guard let number = value.number, number.isFinite else { throw invalid(name, value.shortText) }
    return number
  }

  mutating func text(_ key: String) throws -> String? {
    let (name, value) = value(key)
    guard let value else { return nil }
    guard let text = value.string else { throw invalid(name, value.shortText) }
    return text
  }

  mutating func flags(_ key: String) throws -> [Bool]? {
    let (name, value) = value(key)
    guard let value else { return nil }
    guard let elements = value.elements, case let flags = elements.compactMap(\.bool),
      flags.count == elements.count
    else { throw invalid(name, value.shortText) }
    return flags
  }

  /// Keys without effect on the numbers of a forward pass.
  private static let harmless: Set<String> = [
    "rope.scaling.finetuned", "expert_weights_norm", "attention.causal", "tensor_data_layout",
  ]

  /// Refuses keys of the architecture that nobody asked for: they would change numbers in a way nobody here
  /// knows.
  func requireAllKnown(ignoring: Set<String>) throws {
    for (key, value) in file.metadata where key.utf8.starts(with: prefix.utf8) {
      let short = String(decoding: key.utf8.dropFirst(prefix.utf8.count), as: UTF8.self)
      if known.contains(ByteKey(key)) || Self.harmless.contains(short) || ignoring.contains(key) { continue }
      // A feature that is not used.
      if value.number == 0 || value == .bool(false) { continue }
      throw ExpertError(.unknownKey, path: file.path, name: key, found: value.shortText)
    }
  }

  func invalid(_ key: String, _ found: String) -> ExpertError {
    ExpertError(.invalidConfiguration, path: file.path, found: "\(key) is \(found)")
  }
}
