public import LMoECore
public import LMoEFormat

/// Writes the base of a bundle, or an expert, as a GGUF file for llama.cpp.
public struct GGUFExport: Sendable {
  let bundle: Bundle
  let base: ResolvedBase
  let pool: WorkerPool
  let system: any FileSystem

  /// Exports from `bundle`; the weights of its base are where `base` says.
  public init(
    _ bundle: Bundle, base: ResolvedBase, on pool: WorkerPool = .shared,
    in system: any FileSystem = PosixFileSystem()
  ) {
    (self.bundle, self.base, self.pool, self.system) = (bundle, base, pool, system)
  }

  /// Writes the base, with its tokenizer and chat template, to the new file `path`.
  ///
  /// - Parameters:
  ///   - path: The file, which appears when it is whole.
  ///   - element: The element type of matrices.
  ///   - withTokenizer: Whether the tokenizer goes along; a file without one computes from tokens.
  ///   - progress: Called with the number of bytes that were written, from any worker.
  /// - Returns: What the user should know.
  /// - Throws: `ExpertError` with `not-exportable` for what llama.cpp would compute otherwise, `FormatError`.
  public func writeBase(
    to path: String, as element: GGUFElement = .asStored, withTokenizer: Bool = true,
    progress: @escaping @Sendable (UInt64) -> Void = { _ in }
  ) throws -> [String] {
    if system.kind(path) != nil { throw ExpertError(.outputExists, path: path) }
    let description = try bundle.baseDescription()
    let model = description.model
    var (keys, frequencies, notes) = try model.ggufMetadata(path: bundle.path)
    if base.holder == nil { try base.verify(on: pool) }
    guard let work = QuantizationWork(path: bundle.path) else { return [] }
    var tensors: [NewEntry] = []
    if let frequencies {
      tensors.append(try Self.vector("rope_freqs.weight", frequencies))
    }
    var kept: [String] = []
    for expected in model.tensors {
      tensors.append(try tensor(expected, description.names, element, work, &kept))
    }
    if !kept.isEmpty {
      notes.append(
        "\(kept.count) matrices have rows that are no multiple of a block, and are F16: \(kept[0])"
          + (kept.count > 1 ? ", …" : ""))
    }
    let head = self.head(
      GGUFArchitecture(model.family).rawValue, element, tensors.map(\.type), description)
    if withTokenizer {
      let (tokens, remarks) = try tokenizer(count: model.vocabularySize)
      keys += tokens
      notes += remarks
    } else {
      keys.append(("tokenizer.ggml.model", .string("none")))
    }
    let metadata = head + keys
    try work.explaining {
      try GGUFWriter.write(
        path, metadata: metadata, tensors: tensors, on: pool, in: system, progress: progress)
    }
    return notes
  }

  private func head(
    _ architecture: String, _ element: GGUFElement, _ types: [TensorType], _ description: BaseDescription
  ) -> [(key: String, value: GGUFValue)] {
    var keys: [(key: String, value: GGUFValue)] = [
      ("general.architecture", .string(architecture)), ("general.type", .string("model")),
      ("general.name", .string(description.name ?? architecture)),
      ("general.file_type", .u32(element.fileType(stored: types))),
    ]
    if types.contains(where: { $0.geometry != nil }) {
      keys.append(("general.quantization_version", .u32(2)))
    }
    // So that experts fit the base when it comes back.
    if let sourceID = description.sourceID { keys.append((Self.sourceKey, .string(sourceID))) }
    return keys
  }

  /// Holds the source id of the base, beside what llama.cpp reads.
  static let sourceKey = "lmoe.source_id"

  static func vector(_ name: String, _ values: [Float]) throws -> NewEntry {
    var bytes: [UInt8] = []
    for value in values {
      for shift in [0, 8, 16, 24] as [UInt32] {
        bytes.append(UInt8(truncatingIfNeeded: value.bitPattern >> shift))
      }
    }
    guard let type = TensorType(dtype: .f32, shape: [UInt64(values.count)]) else {
      throw FormatError(.tooLarge, entry: name)
    }
    return NewEntry(tensor: name, type: type, source: MemorySource(bytes))
  }

  /// A tensor of the model under GGUF's name, its rows in GGUF's order.
  private func tensor(
    _ expected: TensorNames.Expected, _ names: TensorNames, _ element: GGUFElement, _ work: QuantizationWork,
    _ kept: inout [String]
  ) throws -> NewEntry {
    guard let name = GGUFNames.gguf(tensor: expected.name), let stored = names.stored(expected.name),
      let index = base.index(of: stored)
    else {
      throw ExpertError(
        .notExportable, path: bundle.path, name: expected.name, found: "GGUF has no name for it")
    }
    let item = base.tensors[index]
    var source = item.source
    let type = item.entry.type
    if let order = GGUFArchitecture.order(of: expected.name, in: names.model, isExport: true) {
      guard type.geometry?.layout != .flat else {
        return try cast(name, source, type, element.dtype ?? .f16, order)
      }
      source = ReorderedSource(source, type, order)
    }
    var target = element == .asStored ? GGUFElement.nearest(type) : element
    if expected.shape.count == 1 { target = .f32 }
    if let geometry = target.geometry {
      if type.geometry == geometry { return NewEntry(tensor: name, type: type, source: source) }
      if !expected.shape[1].isMultiple(of: Int(geometry.blockElements)) {
        kept.append(expected.name)
        target = .f16
      } else {
        return try quantized(name, source, type, geometry, work)
      }
    }
    guard let dtype = target.dtype, type.dtype != dtype else {
      return NewEntry(tensor: name, type: type, source: source)
    }
    return try cast(name, source, type, dtype, nil)
  }

  /// A tensor as floats of another dtype.
  private func cast(
    _ name: String, _ source: any ByteSource, _ type: TensorType, _ dtype: DType, _ order: HeadOrder?
  ) throws -> NewEntry {
    guard let cast = CastSource(source, type, as: dtype),
      let made = TensorType(dtype: dtype, shape: type.shape.map { UInt64($0) })
    else {
      throw ExpertError(
        .notExportable, path: bundle.path, name: name, found: "it is \(type.dtypeName), which are no numbers")
    }
    guard let order else { return NewEntry(tensor: name, type: made, source: cast) }
    return NewEntry(tensor: name, type: made, source: ReorderedSource(cast, made, order))
  }

  /// A tensor in quantized blocks, made as it is written.
  private func quantized(
    _ name: String, _ source: any ByteSource, _ type: TensorType, _ geometry: BlockGeometry,
    _ work: QuantizationWork
  ) throws -> NewEntry {
    guard let made = TensorType(dtype: .block, geometry: geometry, shape: type.shape.map { UInt64($0) }),
      let blocks = QuantizedSource(name, source, type, as: made, work)
    else {
      throw ExpertError(
        .notExportable, path: bundle.path, name: name, found: "it is \(type.dtypeName), which are no numbers")
    }
    return NewEntry(tensor: name, type: made, source: blocks)
  }
}
