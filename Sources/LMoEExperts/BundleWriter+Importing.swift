import LMoECore
public import LMoEFormat

extension BundleWriter {
  /// Adds a base model as the bank `base`: its tensors, its files verbatim, and the heads of its safetensors
  /// files, from which `export` makes the files again byte for byte.
  ///
  /// - Parameter embeds: Whether the tensors' bytes go into the file, or only their names and hashes.
  /// - Returns: The bank.
  @discardableResult public func addBase(
    _ checkpoint: HFCheckpoint, embeds: Bool = true
  ) throws -> BankEntry {
    var entries = checkpoint.documents
    for (name, file) in checkpoint.files {
      entries.append(try SourceDirectory.head(of: file, named: name))
      for tensor in file.tensors {
        entries.append(NewEntry(tensor: tensor.name, type: tensor.type, source: file.source(of: tensor)))
      }
    }
    let clock = options.clock()
    // The source id of an unquantized base is its content id.
    return try addBank("base", entries: entries, isExternal: !embeds) { contentID in
      Cards.base(checkpoint, sourceID: contentID, clock: clock)
    }
  }

  /// Adds a PEFT adapter as the bank `expert/<name>`, after checking that it fits the base in the bundle.
  ///
  /// - Parameters:
  ///   - adapter: The adapter.
  ///   - name: The expert's name.
  ///   - baseShape: The shape of a tensor of the base.
  ///   - baseSourceID: The base's source id.
  /// - Throws: `ExpertError` if it does not fit, `FormatError`.
  @discardableResult public func addExpert(
    _ adapter: PEFTAdapter, named name: String, baseShape: (String) -> [Int]?, baseSourceID: String?
  ) throws -> BankEntry {
    try requireExpertName(name)
    try adapter.check(againstBase: baseShape)
    var entries = adapter.documents
    entries.append(try SourceDirectory.head(of: adapter.file, named: "adapter_model.safetensors"))
    for tensor in adapter.file.tensors {
      entries.append(
        NewEntry(tensor: tensor.name, type: tensor.type, source: adapter.file.source(of: tensor)))
    }
    return try addBank(
      "expert/" + name,
      card: Cards.expert(adapter, baseSourceID: baseSourceID, clock: options.clock()), entries: entries)
  }

  /// Adds the constant uniform gate, so that a fresh bundle is complete.
  public func addUniformGate() throws {
    try addBank("gate/uniform", card: Cards.uniformGate, entries: [])
  }
}

extension BundleWriter {
  /// The shapes of the tensors of the base in the bundle that is appended to, and its source id.
  ///
  /// - Throws: `ExpertError` with `no-base`, `FormatError`.
  public func baseShapes() throws -> (shape: (String) -> [Int]?, sourceID: String?) {
    guard let base else { throw ExpertError(.noBase, path: path) }
    return try base.baseShapes()
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

extension Bundle {
  /// The shapes of the base's tensors, and its source id: what an expert has to fit.
  ///
  /// - Throws: `ExpertError` with `no-base`, `FormatError`.
  public func baseShapes() throws -> (shape: (String) -> [Int]?, sourceID: String?) {
    guard let bank = root.bank("base") else { throw ExpertError(.noBase, path: path) }
    let manifest = try manifest(of: bank)
    let sourceID = try card(of: bank)?["source_id"]?.string
    return ({ manifest.tensor($0)?.type.shape }, sourceID)
  }
}
