public import LMoECore

/// An X-LoRA model: adapters, and a classifier that weighs them by the final hidden states of a first pass.
///
/// There are two layouts: that of the original package (`xlora_config.json`, `xlora_classifier.safetensors`, a
/// directory for each adapter) and PEFT's (`adapter_config.json` with the type XLORA, directories named by
/// number).
public struct XLoRADirectory: Sendable {
  /// The directory.
  public let path: String
  /// The adapters in the classifier's order, each with the directory that holds it.
  public let adapters: [(name: String, path: String)]
  /// The name of its configuration.
  let configurationName: String

  static let original = "xlora_config.json"
  static let classifier = "xlora_classifier.safetensors"

  /// Looks into the directory `path`.
  ///
  /// - Returns: nil if it is no X-LoRA model.
  /// - Throws: `ExpertError` if its configuration or an adapter's directory is missing or not valid.
  public init?(_ path: String, in system: any FileSystem = PosixFileSystem()) throws {
    guard system.kind(path) == .directory else { return nil }
    let directory = try SourceDirectory(path, in: system)
    self.path = directory.path
    let names: [(name: String, place: String)]
    if directory.has(Self.original) {
      configurationName = Self.original
      let reader = try ConfigurationReader(
        try directory.json(Self.original), path: directory.path + "/" + Self.original)
      // A dictionary while it is in memory, a list of its keys once it was saved.
      let list = reader.value("adapters")
      let keys = list?.object?.members.map(\.key) ?? list?.array?.compactMap(\.string) ?? []
      names = keys.map { ($0, $0) }
    } else if directory.has(PEFTAdapter.configurationName),
      try directory.json(PEFTAdapter.configurationName)["peft_type"]?.string == "XLORA"
    {
      configurationName = PEFTAdapter.configurationName
      let json = try directory.json(configurationName)
      let members = json["adapters"]?.object?.members ?? []
      // Numbers in order; what stands behind them are paths of the machine that trained it.
      names = members.map(\.key).sorted { (Int($0) ?? .max, ByteKey($0)) < (Int($1) ?? .max, ByteKey($1)) }
        .map { ($0, $0) }
    } else {
      return nil
    }
    let file = directory.path + "/" + configurationName
    guard !names.isEmpty else {
      throw ExpertError(.invalidConfiguration, path: file, found: "it lists no adapters")
    }
    adapters = try names.map { name, place in
      guard !place.isEmpty, !place.utf8.contains(UInt8(ascii: "/")), place != ".", place != ".." else {
        throw ExpertError(
          .invalidConfiguration, path: file, found: "the adapter \"\(place.shortened)\" is no plain name")
      }
      let candidates = [directory.path + "/" + place, directory.path + "/adapters/" + place]
      let found = candidates.first { system.kind($0 + "/" + PEFTAdapter.configurationName) == .file }
      guard let found else {
        throw ExpertError(
          .noConfiguration, path: candidates[0], expected: PEFTAdapter.configurationName, found: nil)
      }
      return (name, found)
    }
  }

  /// What is not imported, for a note.
  public var leftOut: String {
    "its classifier weighs the adapters by the final hidden states of a first pass without them (prepass-final-hidden), which this tool cannot compute; the adapters were imported without it, and the gate is the uniform one"
  }
}
