import LMoECore
public import LMoEFormat

extension BundleWriter {
  /// Adds a base model as the bank `base`: its tensors, its files verbatim, and the heads of its safetensors
  /// files, from which `export` makes the files again byte for byte.
  ///
  /// Of a checkpoint that was quantized the weights become blocks, without loss, and there are no heads.
  ///
  /// - Parameters:
  ///   - checkpoint: The checkpoint.
  ///   - model: What it is.
  ///   - embeds: Whether the tensors' bytes go into the file, or only their names and hashes.
  ///   - ignoredKeys: Keys of its configuration that the user said change nothing, to be recorded.
  /// - Returns: The base, for experts to fit.
  @discardableResult public func addBase(
    _ checkpoint: HFCheckpoint, _ model: CheckpointModel, embeds: Bool = true, ignoredKeys: [String] = []
  ) throws -> BaseDescription {
    var entries = checkpoint.documents
    let norms = WeightNorms()
    let weights = try checkpoint.weights()
    if try checkpoint.quantizationMethod() == nil {
      for (name, file) in checkpoint.files { entries.append(try SourceDirectory.head(of: file, named: name)) }
    }
    for weight in weights {
      entries.append(
        norms.observing(NewEntry(tensor: weight.name, type: weight.type, source: weight.source)))
    }
    let quantized = try checkpoint.quantizationMethod()
    let clock = options.clock()
    // The source id of an unquantized base is its content id.
    var card: JSON = .null
    let bank = try addBank("base", entries: entries, isExternal: !embeds) { contentID in
      card = Cards.base(
        checkpoint.facts(weights.map(\.type), quantized), model.names.model, model.tokenizer,
        sourceID: quantized == nil ? contentID : nil, norms: norms.norms,
        ignoredKeys: ignoredKeys, clock: clock)
      return card
    }
    return try BaseDescription(card: card, manifest: try manifest(of: bank), path: path) { nil }
  }

  /// Adds a PEFT adapter as the bank `expert/<name>`.
  ///
  /// - Parameters:
  ///   - adapter: The adapter.
  ///   - name: The expert's name.
  ///   - base: The base it has to fit.
  /// - Returns: The bank, and what the user should know.
  /// - Throws: `ExpertError` if it does not fit or holds values that are not numbers, `FormatError`.
  @discardableResult public func addExpert(
    _ adapter: PEFTAdapter, named name: String, on base: BaseDescription
  ) throws -> (bank: BankEntry, notes: [String]) {
    try requireExpertName(name)
    var expert = try LoRAExpert(adapter, on: base)
    let measurement = try ExpertMeasurement(expert, on: options.pool)
    try expert.compare(with: base)
    var entries = adapter.documents
    entries.append(try SourceDirectory.head(of: adapter.file, named: PEFTAdapter.weights))
    let renamed = expert.renamed
    if !renamed.isEmpty {
      let names = JSON.object(renamed.map { ($0.file, .string($0.bank)) })
      entries.append(
        try NewEntry(document: "names/" + PEFTAdapter.weights, bytes: Array(names.serialized().utf8)))
    }
    for placed in expert.tensors {
      entries.append(
        NewEntry(
          tensor: placed.name, type: placed.tensor.type, source: adapter.file.source(of: placed.tensor)))
    }
    let card = Cards.expert(expert, measurement, base: base, clock: options.clock())
    return (
      try addBank("expert/" + name, card: card, entries: entries),
      expert.notes + (try expert.noteOnTiedEnds())
    )
  }

  /// Adds the constant uniform gate, so that a fresh bundle is complete: it lists nobody and covers everybody.
  public func addUniformGate() throws {
    try addBank("gate/uniform", card: Gate.uniform.card(), entries: [])
  }

  /// The base of the bundle as it will be: what experts have to fit.
  ///
  /// - Throws: `ExpertError` with `no-base`, `FormatError`.
  public func baseDescription() throws -> BaseDescription {
    guard let base else { throw ExpertError(.noBase, path: path) }
    return try base.baseDescription()
  }
}

/// Makes sure that `name` can be typed: it stands in `NAME=DIR`, `FILE#NAME` and lists.
///
/// - Throws: `ExpertError` with `invalid-name`.
public func requireExpertName(_ name: String) throws {
  let forbidden = Array("/=,#".utf8)
  guard (1...255).contains(name.utf8.count), isValidName(name), name.utf8.first != UInt8(ascii: "-"),
    !name.utf8.contains(where: { forbidden.contains($0) }), name != ".", name != "..",
    name.utf8.first != UInt8(ascii: " "), name.utf8.last != UInt8(ascii: " ")
  else { throw ExpertError(.invalidName, path: "", name: name) }
}

extension HFCheckpoint {
  /// What its card says of where it comes from.
  fileprivate func facts(_ types: [TensorType], _ quantized: QuantizationMethod?) -> Cards.BaseFacts {
    Cards.BaseFacts(
      architecture: architecture, modelType: modelType, types: types,
      files: quantized == nil ? files.map { ($0.name, $0.file.tensors.count) } : [], leftOut: leftOut,
      path: path, quantized: quantized.map { ($0.type.name, $0.title) })
  }
}
