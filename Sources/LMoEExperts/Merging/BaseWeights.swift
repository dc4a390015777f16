import LMoECore
import LMoEFormat

/// The weights and files of a base, in a checkpoint or a bundle: what a merge reads and what it writes anew.
public struct BaseWeights: Sendable {
  /// Where the model's weights are.
  public let description: BaseDescription
  /// Where it is.
  public let path: String
  /// The safetensors files in order, each with its tensors.
  let files: [(name: String, tensors: [NewEntry])]
  /// The other files.
  let documents: [NewEntry]
  private let places: [ByteKey: NewEntry]

  private init(
    _ description: BaseDescription, _ path: String, _ files: [(name: String, tensors: [NewEntry])],
    _ documents: [NewEntry]
  ) {
    (self.description, self.path, self.files, self.documents) = (description, path, files, documents)
    places = Dictionary(
      files.flatMap { $0.tensors.map { (ByteKey($0.name), $0) } }, uniquingKeysWith: { first, _ in first })
  }

  /// Takes a checkpoint.
  ///
  /// - Throws: `ExpertError` if it is of a model this tool does not know.
  public init(_ checkpoint: HFCheckpoint) throws {
    self.init(
      try checkpoint.resolved().base, checkpoint.path,
      checkpoint.files.map { item in
        (
          item.name,
          item.file.tensors.map {
            NewEntry(tensor: $0.name, type: $0.type, source: item.file.source(of: $0))
          }
        )
      }, checkpoint.documents)
  }

  /// Takes the base of a bundle.
  ///
  /// - Throws: `ExpertError`, `FormatError`.
  public init(_ base: ResolvedBase) throws {
    let bundle = base.bundle
    let manifest = try bundle.manifest(of: base.bank)
    var left = Dictionary(
      base.tensors.indices.map { (ByteKey(base.tensors[$0].entry.name), base.newEntry($0)) },
      uniquingKeysWith: { first, _ in first })
    var files: [(name: String, tensors: [NewEntry])] = []
    var documents: [NewEntry] = []
    for entry in manifest.documents {
      if let name = entry.name.dropping("safetensors/") {
        let header = try SafetensorsHeader(head: try bundle.bytes(of: entry, in: base.bank))
        files.append((name, header.tensors.compactMap { left.removeValue(forKey: ByteKey($0.name)) }))
      } else if entry.name.dropping("files/") != nil {
        documents.append(
          try NewEntry(document: entry.name, bytes: try bundle.bytes(of: entry, in: base.bank)))
      }
    }
    // Tensors that came in another way.
    if !left.isEmpty {
      let rest = left.sorted { $0.key < $1.key }.map(\.value)
      if let place = files.firstIndex(where: { $0.name == "model.safetensors" }) {
        files[place].tensors += rest
      } else {
        files.append(("model.safetensors", rest))
      }
    }
    self.init(try bundle.baseDescription(), base.path, files, documents)
  }

  /// A tensor of the model.
  ///
  /// - Parameter name: Its name in the model.
  func tensor(_ name: String) -> NewEntry? {
    description.names.stored(name).flatMap { places[ByteKey($0)] }
  }

  /// The weight of a module as float32, by rows.
  ///
  /// - Throws: `ExpertError` with `no-such-module`, `FormatError`.
  func floats(ofModule module: String) throws -> [Float] {
    guard let values = try floats(of: module + ".weight") else {
      throw ExpertError(
        .noSuchModule, path: path, name: module,
        expected: closestName(to: module, among: description.names.modules))
    }
    return values
  }

  /// A tensor of the model as float32, by rows; nil if there is none, or it is of another kind.
  ///
  /// - Throws: `FormatError`.
  func floats(of name: String) throws -> [Float]? {
    guard let entry = tensor(name), FloatValues(entry.type) != nil else { return nil }
    do throws(FormatError) { return try entry.source.floats(entry.type) } catch {
      throw error.at(path: path, entry: entry.name)
    }
  }
}

extension String {
  /// What follows `prefix`, compared by bytes; nil if it does not begin so.
  func dropping(_ prefix: String) -> String? {
    guard utf8.starts(with: prefix.utf8) else { return nil }
    return String(decoding: utf8.dropFirst(prefix.utf8.count), as: UTF8.self)
  }
}
