public import LMoECore
public import LMoEFormat

/// A base model in a GGUF file: its tensors under the names and in the order that transformers has, its
/// configuration and its tokenizer rebuilt.
///
/// Tensors keep the element type that they have in the file, quantized blocks too.
public struct GGUFBase: Sendable {
  /// The file.
  public let file: GGUFFile
  /// Where the weights are; `names.model` is the configuration.
  public let names: TensorNames
  /// What the user should know.
  public let notes: [String]
  /// `config.json`, made of the keys.
  public let configuration: JSON
  /// The source id of the base that the file was exported from, if it says so.
  public let sourceID: Bits128?
  /// Tensors as they go into a bundle.
  let tensors: [NewEntry]
  /// The configuration and the tokenizer's files, each by its name in a checkpoint.
  let files: [(name: String, bytes: [UInt8])]

  /// Opens the file at `path`.
  ///
  /// - Parameter ignoring: Keys that the user says change nothing.
  /// - Throws: `ExpertError` that names the key or tensor; `FormatError`.
  public init(
    path: String, ignoring: Set<String> = [], in system: any FileSystem = PosixFileSystem()
  ) throws {
    let file = try GGUFFile(path: path, in: system)
    self.file = file
    try Self.requireModel(file)
    let configuration = try GGUFConfiguration(file, ignoring: ignoring)
    let (model, _) = try ModelConfiguration.parse(configuration.json, path: path)
    self.configuration = configuration.json
    var entries: [NewEntry] = []
    for tensor in file.tensors where tensor.name != GGUFConfiguration.divisors {
      guard let name = GGUFNames.model(tensor: tensor.name) else {
        throw ExpertError(
          .unexpectedWeight, path: path, name: tensor.name, expected: model.family.rawValue)
      }
      guard FloatValues(tensor.type) != nil else {
        throw ExpertError(.unsupportedElement, path: path, name: tensor.name, found: tensor.ggml.name)
      }
      var source = file.source(of: tensor)
      if let order = GGUFArchitecture.order(of: name, in: model, isExport: false) {
        guard let rows = tensor.type.shape.first, rows.isMultiple(of: order.dimension) else {
          throw ExpertError(
            .weightShape, path: path, name: tensor.name, expected: "rows for heads of \(order.dimension)",
            found: "\(tensor.type.shape)")
        }
        source = ReorderedSource(source, tensor.type, order)
      }
      entries.append(NewEntry(tensor: name, type: tensor.type, source: source))
    }
    tensors = entries
    names = try TensorNames(model, tensors: entries.map { ($0.name, $0.type.shape) }, path: path)
    let text = GGUFText(file, count: model.vocabularySize)
    files = [("config.json", Array(configuration.json.serialized(pretty: true).utf8))] + text.files
    notes = configuration.notes + text.notes
    sourceID = file.value(GGUFExport.sourceKey)?.string.flatMap { Bits128(hexadecimal: $0) }
  }

  private static func requireModel(_ file: GGUFFile) throws {
    if let kind = file.value("general.type")?.string, kind != "model" {
      throw ExpertError(
        .unsupportedModel, path: file.path, name: "general.type",
        found: "\"\(kind.shortened)\"" + (kind == "adapter" ? ", to be added with --expert or \"add\"" : ""))
    }
    if let parts = file.value("split.count")?.integer, parts > 1 {
      throw ExpertError(
        .unsupportedModel, path: file.path, name: "split.count",
        found: "\(parts); join the parts with llama-gguf-split --merge")
    }
  }

  /// Raw bytes of its tensors.
  public var rawBytes: UInt64 { tensors.reduce(0) { $0 + UInt64($1.type.rawBytes) } }

  /// What most of its elements are quantized to; nil if there are floats alone.
  fileprivate var quantized: String? {
    var counts: [String: Int] = [:]
    for tensor in tensors where tensor.type.geometry != nil {
      counts[tensor.type.dtypeName, default: 0] += tensor.type.elementCount
    }
    return counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
  }

  /// What experts have to fit, before it is written anywhere.
  public var base: BaseDescription {
    BaseDescription(names: names, name: nil, sourceID: nil, entries: [:], norms: [:])
  }
}

extension BundleWriter {
  /// Adds a base model of a GGUF file as the bank `base`.
  ///
  /// Where all tensors are plain floats, `export --to hf` writes them as a checkpoint.
  ///
  /// - Parameters:
  ///   - gguf: The file.
  ///   - embeds: Whether the tensors' bytes go into the bundle, or only their names and hashes.
  ///   - ignoredKeys: Keys that the user said change nothing, to be recorded.
  /// - Returns: The base, for experts to fit.
  @discardableResult public func addBase(
    _ gguf: GGUFBase, embeds: Bool = true, ignoredKeys: [String] = []
  ) throws -> BaseDescription {
    var entries = try gguf.files.map { try NewEntry(document: "files/" + $0.name, bytes: $0.bytes) }
    if gguf.tensors.allSatisfy({ $0.type.geometry == nil }) {
      let head = try SafetensorsWriter.head(for: gguf.tensors, metadata: [("format", "pt")])
      entries.append(try NewEntry(document: "safetensors/model.safetensors", bytes: head))
    }
    let norms = WeightNorms()
    entries += gguf.tensors.map(norms.observing)
    let clock = options.clock()
    let facts = Cards.BaseFacts(
      architecture: gguf.names.model.family.architecture, modelType: gguf.names.model.family.rawValue,
      types: gguf.tensors.map(\.type),
      files: [(originName(gguf.file.path), gguf.tensors.count)], leftOut: [],
      path: gguf.file.path, quantized: gguf.quantized.map { ($0, "GGUF") })
    let text = TokenizerFiles(files: gguf.files.map(\.name), tokenizerConfiguration: nil)
    var card: JSON = .null
    let bank = try addBank("base", entries: entries, isExternal: !embeds) { contentID in
      card = Cards.base(
        facts, gguf.names.model, text, sourceID: gguf.sourceID ?? (gguf.quantized == nil ? contentID : nil),
        norms: norms.norms,
        ignoredKeys: ignoredKeys, clock: clock)
      return card
    }
    return try BaseDescription(card: card, manifest: try manifest(of: bank), path: path) { nil }
  }
}
