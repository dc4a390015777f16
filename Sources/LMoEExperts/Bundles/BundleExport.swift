public import LMoECore
public import LMoEFormat

/// Writes a bank out as the directory it came from, byte for byte.
public struct BundleExport: Sendable {
  let bundle: Bundle
  private let base: ResolvedBase?
  let system: any FileSystem
  private let pool: WorkerPool
  /// What to write in place of quantized tensors; nil to refuse them.
  public var dequantization: Dequantization?

  /// Exports from `bundle`, the weights of an external base from `base`.
  public init(
    _ bundle: Bundle, base: ResolvedBase? = nil, on pool: WorkerPool = .shared,
    in system: any FileSystem = PosixFileSystem()
  ) {
    self.bundle = bundle
    self.base = base
    self.pool = pool
    self.system = system
  }

  /// Writes the bank `name` to the new directory `path`, which appears when it is whole.
  ///
  /// - Returns: The names of the files written.
  /// - Throws: `ExpertError`, `FormatError`; nothing is left at `path` then.
  @discardableResult public func write(_ name: String, to path: String) throws -> [String] {
    let bank = try bundle.bank(name)
    if bank.isExternal, base == nil { throw FormatError(.external, path: bundle.path, bank: bank.name) }
    return try NewDirectory.making(path, in: system) { made, directory in
      try writeOriginals(bank, directory, &made)
    }
  }

  /// Writes the expert `name` to the new directory `path` as a PEFT adapter made from its card, whatever files
  /// it came from; its other files (README, tokenizer) come along as they are.
  ///
  /// - Returns: The names of the files written, and what the user should know.
  /// - Throws: `ExpertError`, `FormatError`; nothing is left at `path` then.
  @discardableResult public func writeAdapter(
    _ name: String, to path: String
  ) throws -> (files: [String], notes: [String]) {
    let writer = try adapterWriter(name)
    let files = try NewDirectory.making(path, in: system) { made, directory in
      try writeAdapter(name, writer, to: directory, &made)
    }
    let notes =
      writer.usesPatterns
      ? ["its modules differ in rank or scaling, which PEFT reads and vLLM passes over"] : []
    return (files, notes)
  }

  /// What makes the configuration of the expert `name`.
  func adapterWriter(_ name: String) throws -> PEFTWriter {
    let card = try bundle.card(of: try bundle.bank("expert/" + name))
    return try PEFTWriter(card: card, path: bundle.path, expert: name)
  }

  /// Writes an expert into a directory that is being made.
  func writeAdapter(
    _ name: String, _ writer: PEFTWriter, to directory: String, _ made: inout MadeFiles
  ) throws -> [String] {
    let bank = try bundle.bank("expert/" + name)
    let manifest = try bundle.manifest(of: bank)
    try requireFloats(bank, manifest)
    let layers = try? bundle.baseDescription().model.layerCount
    let configuration = try writer.configuration(layers: layers)
    try write(Array(configuration.utf8), PEFTAdapter.configurationName, in: directory, &made)
    try SafetensorsWriter.write(
      try made.place(PEFTAdapter.weights, in: directory, of: bundle.path),
      tensors: try manifest.tensors.compactMap { try adapterEntry($0, writer) },
      metadata: [("format", "pt")], in: system)
    return try [PEFTAdapter.configurationName, PEFTAdapter.weights]
      + writeFiles(of: bank, manifest, directory, &made)
  }

  /// Writes a small file into a directory that is being made.
  func write(
    _ bytes: [UInt8], _ name: String, in directory: String, _ made: inout MadeFiles
  ) throws {
    try writeAtomically(
      try made.place(name, in: directory, of: bundle.path), in: system, failure: { $0 }
    ) { (file) throws(FileError) in try file.write(bytes, at: 0) }
  }

  /// Whether the expert has the files it came from, so that they can be written again.
  public func hasOriginals(_ name: String) throws -> Bool {
    let manifest = try bundle.manifest(of: try bundle.bank("expert/" + name))
    return manifest.document("safetensors/" + PEFTAdapter.weights) != nil
  }

  /// Writes the files of a bank that are neither its configuration nor its weights.
  private func writeFiles(
    of bank: BankEntry, _ manifest: Manifest, _ directory: String, _ made: inout MadeFiles
  ) throws -> [String] {
    var written: [String] = []
    let head = Array("files/".utf8)
    for document in manifest.documents where document.name.utf8.starts(with: head) {
      let relative = String(decoding: document.name.utf8.dropFirst(head.count), as: UTF8.self)
      if [PEFTAdapter.configurationName, PEFTAdapter.weights].contains(where: relative.hasSameBytes) {
        continue
      }
      let target = try made.place(relative, in: directory, of: bundle.path)
      let bytes = try bundle.bytes(of: document, in: bank, on: pool)
      try writeAtomically(target, in: system, failure: { $0 }) { (file) throws(FileError) in
        try file.write(bytes, at: 0)
      }
      written.append(relative)
    }
    return written
  }

  private func writeOriginals(
    _ bank: BankEntry, _ directory: String, _ made: inout MadeFiles
  ) throws -> [String] {
    let manifest = try bundle.manifest(of: bank)
    try requireFloats(bank, manifest)
    var written: [String] = []
    let hasHeads = manifest.documents.contains { $0.name.utf8.starts(with: "safetensors/".utf8) }
    var unplaced = Set(manifest.tensors.map { ByteKey($0.name) })
    for document in manifest.documents {
      // By bytes: "/" and a combining mark are one character.
      guard let slash = document.name.utf8.firstIndex(of: UInt8(ascii: "/")) else { continue }
      let kind = document.name[..<slash]
      let relative = String(decoding: document.name.utf8[slash...].dropFirst(), as: UTF8.self)
      switch kind {
      case "files":
        // The index of files that are not written again.
        if !hasHeads, bank.kind == "base", relative.hasSuffix(".safetensors.index.json") { continue }
        let target = try made.place(relative, in: directory, of: bundle.path)
        var bytes = try bundle.bytes(of: document, in: bank, on: pool)
        if let dequantization, bank.kind == "base" {
          bytes = dequantized(relative, bytes, manifest, dequantization)
        }
        try writeAtomically(target, in: system, failure: { $0 }) { (file) throws(FileError) in
          try file.write(bytes, at: 0)
        }
      case "safetensors":
        let target = try made.place(relative, in: directory, of: bundle.path)
        let head = try bundle.bytes(of: document, in: bank, on: pool)
        let names = try self.names(of: relative, in: bank)
        try writeWeights(target, head: head, names, bank, manifest, &unplaced)
      default: continue
      }
      written.append(relative)
    }
    if let dequantization, !hasHeads, bank.kind == "base" {
      written.append(try writeOneFile(directory, manifest, dequantization, &made))
      unplaced.removeAll()
    }
    if let missing = unplaced.min() {
      throw ExpertError(
        .notExportable, path: bundle.path, name: missing.text,
        found: "the heads of the original files do not list it")
    }
    return written
  }

  /// The bank's names of tensors that go by another in the file.
  private func names(of file: String, in bank: BankEntry) throws -> [ByteKey: String] {
    guard let bytes = try bundle.document("names/" + file, in: bank) else { return [:] }
    let json: JSON
    do throws(JSONError) { json = try JSON(parsing: bytes) } catch {
      throw ExpertError(.notExportable, path: bundle.path, name: "names/" + file, found: error.description)
    }
    return Dictionary(
      (json.object?.members ?? []).compactMap { key, value in value.string.map { (ByteKey(key), $0) } },
      uniquingKeysWith: { first, _ in first })
  }

  private func writeWeights(
    _ target: String, head: [UInt8], _ names: [ByteKey: String], _ bank: BankEntry, _ manifest: Manifest,
    _ unplaced: inout Set<ByteKey>
  ) throws {
    // The head was checked when it came in; its data length is what its tensors say.
    let header = try SafetensorsHeader(head: head)
    if let dequantization, !bank.isExternal {
      return try writeFloats(target, header, names, manifest, dequantization, &unplaced)
    }
    var tensors: [(entry: BankedEntry, offset: UInt64)] = []
    for tensor in header.tensors {
      let name = names[ByteKey(tensor.name)] ?? tensor.name
      guard let entry = manifest.tensor(name), entry.type == tensor.type else {
        throw ExpertError(
          .notExportable, path: bundle.path, name: tensor.name,
          found: "the bank's tensor is not the one in the original file; add \"--rewrite\"")
      }
      unplaced.remove(ByteKey(name))
      tensors.append((BankedEntry(bank: bank.name, entry: entry), tensor.offset))
    }
    guard bank.isExternal, let base else {
      return try SafetensorsWriter.write(
        target, head: head, tensors: tensors, from: bundle, on: pool, in: system)
    }
    let elsewhere = tensors.compactMap { item in
      base.index(of: item.entry.entry.name).map {
        (entry: base.newEntry($0), hash: item.entry.entry.contentHash, offset: item.offset)
      }
    }
    try base.checkingValues {
      try SafetensorsWriter.write(target, head: head, checked: elsewhere, on: pool, in: system)
    }
  }
}
