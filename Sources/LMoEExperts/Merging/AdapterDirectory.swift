public import LMoECore
import LMoEFormat

extension MergedExpert {
  /// Writes it to the new directory `path` as a PEFT adapter, which appears when it is whole.
  ///
  /// - Parameters:
  ///   - base: The base, where there is one: the number of its layers decides how targets are named.
  /// - Returns: The names of the files.
  /// - Throws: `ExpertError`, `FormatError`, `FileError`; nothing is left at `path` then.
  @discardableResult public func write(
    to path: String, precision: Precision = .f32, base: BaseDescription? = nil,
    in system: any FileSystem = PosixFileSystem()
  ) throws -> [String] {
    let entries = try tensors(precision)
    let card = card(entries, base: base, clock: 0)
    let writer = try PEFTWriter(card: card, path: path, expert: path)
    let configuration = try writer.configuration(layers: base?.model.layerCount ?? layers)
    return try NewDirectory.making(path, in: system) { made, directory in
      try writeAtomically(
        try made.place(PEFTAdapter.configurationName, in: directory, of: path), in: system, failure: { $0 }
      ) { (file) throws(FileError) in try file.write(Array(configuration.utf8), at: 0) }
      try SafetensorsWriter.write(
        try made.place(PEFTAdapter.weights, in: directory, of: path), tensors: entries,
        metadata: [("format", "pt")], in: system)
      return [PEFTAdapter.configurationName, PEFTAdapter.weights]
    }
  }

  /// The number of layers that its modules name.
  private var layers: Int? {
    let numbers = modules.compactMap { module -> Int? in
      guard let rest = module.name.dropping("model.layers.") else { return nil }
      return Int(String(decoding: rest.utf8.prefix { $0 != UInt8(ascii: ".") }, as: UTF8.self))
    }
    return numbers.max().map { $0 + 1 }
  }
}
