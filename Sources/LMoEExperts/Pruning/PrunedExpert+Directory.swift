public import LMoECore
import LMoEFormat

extension PrunedExpert {
  /// Writes a PEFT adapter with pruned factors to the new directory `path`, which appears when it is whole.
  ///
  /// All else is that of the adapter: its configuration but for ranks and alphas, its other tensors and files.
  ///
  /// - Returns: The names of the files.
  /// - Throws: `ExpertError`, `FormatError`, `FileError`; nothing is left at `path` then.
  @discardableResult public func write(
    of adapter: PEFTAdapter, to path: String, in system: any FileSystem = PosixFileSystem()
  ) throws -> [String] {
    let replaced = Dictionary(
      try modules.flatMap { try $0.entries() }.map { (ByteKey($0.name), $0) },
      uniquingKeysWith: { first, _ in first })
    let tensors = adapter.file.tensors.map { tensor in
      replaced[ByteKey(tensor.name)]
        ?? NewEntry(tensor: tensor.name, type: tensor.type, source: adapter.file.source(of: tensor))
    }
    let configuration = try self.configuration(of: adapter, in: system)
    let head = Array("files/".utf8)
    return try NewDirectory.making(path, in: system) { made, directory in
      var names = [PEFTAdapter.configurationName, PEFTAdapter.weights]
      func write(_ name: String, _ bytes: [UInt8]) throws {
        try writeAtomically(
          try made.place(name, in: directory, of: path), in: system, failure: { $0 }
        ) { (file) throws(FileError) in try file.write(bytes, at: 0) }
      }
      try write(PEFTAdapter.configurationName, Array((configuration.serialized(pretty: true)).utf8))
      try SafetensorsWriter.write(
        try made.place(PEFTAdapter.weights, in: directory, of: path), tensors: tensors,
        metadata: [("format", "pt")], in: system)
      for document in adapter.documents where document.name.utf8.starts(with: head) {
        let name = String(decoding: document.name.utf8.dropFirst(head.count), as: UTF8.self)
        guard !name.hasSameBytes(as: PEFTAdapter.configurationName) else { continue }
        let raw = RawBuffer(count: document.type.rawBytes)
        let bytes = unsafe raw.prefix(document.type.rawBytes)
        try unsafe document.source.read(into: bytes, at: 0)
        try write(name, unsafe Array(UnsafeRawBufferPointer(bytes)))
        names.append(name)
      }
      return names
    }
  }

  /// The adapter's configuration with the ranks that are now: the most common one, and patterns for the others.
  private func configuration(of adapter: PEFTAdapter, in system: any FileSystem) throws -> JSON {
    let json = try SourceDirectory(adapter.path, in: system).json(PEFTAdapter.configurationName)
    guard var object = json.object else { return json }
    let ranks = Dictionary(
      modules.map { (ByteKey($0.source.a), $0) }, uniquingKeysWith: { first, _ in first })
    // The names that PEFT had: patterns are matched against these.
    let now = adapter.modules.map { module in
      let pruned = ranks[ByteKey(module.a.name)]
      return (
        name: module.name, rank: pruned?.rank ?? module.rank,
        alpha: pruned?.alpha(from: module.alpha) ?? module.alpha
      )
    }
    let counts = Dictionary(grouping: now) { [Double($0.rank), $0.alpha] }
    let common = counts.max {
      ($0.value.count, $1.value[0].name) < ($1.value.count, $0.value[0].name)
    }?.value.first
    guard let common else { return json }
    object["r"] = .integer(common.rank)
    object["lora_alpha"] = .double(common.alpha)
    object["rank_pattern"] = .object(
      now.filter { $0.rank != common.rank }.map { ($0.name, .integer($0.rank)) })
    object["alpha_pattern"] = .object(
      now.filter { $0.alpha != common.alpha }.map { ($0.name, .double($0.alpha)) })
    return .object(object)
  }
}
