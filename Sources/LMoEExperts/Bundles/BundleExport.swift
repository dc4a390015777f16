public import LMoECore
public import LMoEFormat

/// Writes a bank out as the directory it came from, byte for byte.
public struct BundleExport: Sendable {
  private let bundle: Bundle
  private let base: ResolvedBase?
  private let system: any FileSystem
  private let pool: WorkerPool

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
    let manifest = try bundle.manifest(of: bank)
    if bank.isExternal, base == nil { throw FormatError(.external, path: bundle.path, bank: bank.name) }
    if system.kind(path) != nil { throw ExpertError(.outputExists, path: path) }
    var trimmed = path
    while trimmed.count > 1, trimmed.hasSuffix("/") { trimmed.removeLast() }
    let temporary = try temporaryPath(for: trimmed)
    var made = MadeFiles(system)
    TemporaryFiles.began(temporary)
    defer { TemporaryFiles.ended(temporary) }
    do {
      try made.directory(temporary)
      var written: [String] = []
      var unplaced = Set(manifest.tensors.map { ByteKey($0.name) })
      for document in manifest.documents {
        // By bytes: "/" and a combining mark are one character.
        guard let slash = document.name.utf8.firstIndex(of: UInt8(ascii: "/")) else { continue }
        let kind = document.name[..<slash]
        let relative = String(decoding: document.name.utf8[slash...].dropFirst(), as: UTF8.self)
        switch kind {
        case "files":
          let target = try made.place(relative, in: temporary, of: bundle.path)
          let bytes = try bundle.bytes(of: document, in: bank, on: pool)
          try writeAtomically(target, in: system, failure: { $0 }) { (file) throws(FileError) in
            try file.write(bytes, at: 0)
          }
        case "safetensors":
          let target = try made.place(relative, in: temporary, of: bundle.path)
          let head = try bundle.bytes(of: document, in: bank, on: pool)
          let names = try self.names(of: relative, in: bank)
          try writeWeights(target, head: head, names, bank, manifest, &unplaced)
        default: continue
        }
        written.append(relative)
      }
      if let missing = unplaced.min() {
        throw ExpertError(
          .notExportable, path: bundle.path, name: missing.text,
          found: "the heads of the original files do not list it")
      }
      try system.rename(temporary, to: trimmed)
      try system.syncDirectory(of: trimmed)
      return written
    } catch {
      made.removeAll()
      throw error
    }
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

/// The files and directories an export has made so far, to take them back.
private struct MadeFiles {
  private let system: any FileSystem
  private var files: [String] = []
  private var directories: [String] = []

  init(_ system: any FileSystem) { self.system = system }

  mutating func directory(_ path: String) throws {
    try system.makeDirectory(path)
    directories.append(path)
  }

  /// The path for a file, its directories made.
  ///
  /// A name from a bundle is not trusted.
  mutating func place(_ relative: String, in root: String, of bundle: String) throws -> String {
    let parts = relative.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
      .map { String(decoding: $0, as: UTF8.self) }
    guard !relative.isEmpty, !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) else {
      throw ExpertError(.notExportable, path: bundle, name: relative, found: "it is not a relative path")
    }
    var path = root
    for part in parts.dropLast() {
      path += "/" + part
      if system.kind(path) == nil { try directory(path) }
    }
    path = root + "/" + relative
    guard system.kind(path) == nil, !files.contains(where: { $0.hasSameBytes(as: path) }) else {
      throw ExpertError(.notExportable, path: bundle, name: relative, found: "two files of that name")
    }
    files.append(path)
    return path
  }

  func removeAll() {
    for file in files { try? system.remove(file) }
    for directory in directories.reversed() { try? system.removeDirectory(directory) }
  }
}
