import LMoECore
import LMoEFormat

// What an export writes in place of quantized tensors.
extension BundleExport {
  /// A tensor of an expert as an adapter has it; nil where it does not.
  func adapterEntry(_ entry: Entry, _ writer: PEFTWriter) throws -> NewEntry? {
    if let dequantization, let name = StoredFactors.plainName(ofTransposed: entry.name) {
      return dequantization.transposed(name, entry, in: bundle)
    }
    guard writer.isWritten(entry.name) else { return nil }
    return dequantization?.entry(entry.name, entry, in: bundle)
      ?? NewEntry(tensor: entry.name, type: entry.type, source: bundle.source(of: entry))
  }

  /// Makes sure that nothing is quantized, if nothing was said of what to do then.
  func requireFloats(_ bank: BankEntry, _ manifest: Manifest) throws {
    guard dequantization == nil, let tensor = manifest.tensors.first(where: { $0.type.geometry != nil })
    else { return }
    throw ExpertError(
      .quantizedExport, path: bundle.path, name: bank.kind == "base" ? "base" : bank.shortName,
      found: tensor.type.dtypeName)
  }

  /// A file of a base whose floats are all of another type now.
  func dequantized(
    _ name: String, _ bytes: [UInt8], _ manifest: Manifest, _ dequantization: Dequantization
  ) -> [UInt8] {
    if name.hasSameBytes(as: "config.json") { return dequantization.configuration(bytes) }
    guard name.hasSuffix(".safetensors.index.json") else { return bytes }
    let total = manifest.tensors.reduce(0) {
      $0 + (dequantization.entry($1.name, $1, in: bundle)?.type ?? $1.type).rawBytes
    }
    return dequantization.index(bytes, totalBytes: total)
  }

  /// Writes all tensors of a base that has no heads of original files.
  ///
  /// - Returns: The file's name.
  func writeOneFile(
    _ directory: String, _ manifest: Manifest, _ dequantization: Dequantization, _ made: inout MadeFiles
  ) throws -> String {
    let name = "model.safetensors"
    try SafetensorsWriter.write(
      try made.place(name, in: directory, of: bundle.path),
      tensors: manifest.tensors.map {
        dequantization.entry($0.name, $0, in: bundle)
          ?? NewEntry(tensor: $0.name, type: $0.type, source: bundle.source(of: $0))
      }, metadata: [("format", "pt")], in: system)
    return name
  }

  /// Writes the tensors of an original file as floats of one type, behind a head of our own.
  func writeFloats(
    _ target: String, _ header: SafetensorsHeader, _ names: [ByteKey: String], _ manifest: Manifest,
    _ dequantization: Dequantization, _ unplaced: inout Set<ByteKey>
  ) throws {
    let entries = try header.tensors.map { tensor in
      let name = names[ByteKey(tensor.name)] ?? tensor.name
      guard let entry = manifest.tensor(name), entry.type.shape == tensor.type.shape else {
        throw ExpertError(
          .notExportable, path: bundle.path, name: tensor.name,
          found: "the bank's tensor is not the one in the original file")
      }
      unplaced.remove(ByteKey(name))
      return dequantization.entry(tensor.name, entry, in: bundle)
        ?? NewEntry(tensor: tensor.name, type: entry.type, source: bundle.source(of: entry))
    }
    try SafetensorsWriter.write(target, tensors: entries, metadata: header.metadata, in: system)
  }
}
