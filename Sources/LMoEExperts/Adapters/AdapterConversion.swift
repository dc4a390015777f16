import LMoECore
import LMoEFormat

/// An adapter of another format on its way into PEFT's, in memory.
struct AdapterConversion {
  /// A module of the model.
  struct Module {
    let name: String
    let rank: Int
    let scaling: Double
    /// Whether magnitudes rescale the rows.
    var isDoRA = false
  }

  /// What errors and the bundle call it.
  let path: String
  private(set) var modules: [Module] = []
  private(set) var tensors: [NewEntry] = []
  /// Files that go along as they are.
  var files: [(name: String, bytes: [UInt8])] = []
  /// The base it says it was trained on.
  var baseName: String?

  init(path: String) { self.path = path }

  /// Adds a module with its factors in PEFT's orientation: `a` is rank × in, `b` out × rank.
  mutating func add(_ module: Module, a: NewEntry, b: NewEntry, magnitude: NewEntry? = nil) {
    modules.append(module)
    tensors += [a, b] + [magnitude].compactMap(\.self)
  }

  /// PEFT's name of a tensor of a module.
  static func name(_ module: String, _ leaf: String) -> String {
    PEFTTensorName.prefix + module + "." + leaf
  }

  /// A tensor in memory; nil if it is too large.
  static func tensor(_ name: String, _ dtype: DType, _ shape: [Int], _ bytes: [UInt8]) -> NewEntry? {
    TensorType(dtype: dtype, shape: shape.map { UInt64($0) }).map {
      NewEntry(tensor: name, type: $0, source: MemorySource(bytes))
    }
  }

  /// The adapter, read as PEFT's.
  ///
  /// - Throws: `ExpertError` for what does not hold together, `FormatError`.
  func adapter() throws -> PEFTAdapter {
    guard let first = modules.first else { throw ExpertError(.emptyAdapter, path: path) }
    let sorted = modules.sorted { ByteKey($0.name) < ByteKey($1.name) }
    func alpha(_ module: Module) -> Double { Self.alpha(module.scaling, rank: module.rank) }
    func pattern(_ value: (Module) -> JSON?) -> JSON {
      .object(sorted.compactMap { module in value(module).map { (module.name, $0) } })
    }
    let configuration: JSON = [
      "alpha_pattern": pattern { alpha($0) == alpha(first) ? nil : .double(alpha($0)) },
      "base_model_name_or_path": baseName.map(JSON.string) ?? .null, "bias": "none",
      "inference_mode": true, "lora_alpha": .double(alpha(first)), "lora_dropout": 0, "peft_type": "LORA",
      "r": .integer(first.rank), "rank_pattern": pattern { $0.rank == first.rank ? nil : .integer($0.rank) },
      "target_modules": .array(sorted.map { .string($0.name) }), "task_type": "CAUSAL_LM",
      "use_dora": .bool(first.isDoRA),
    ]
    var made = files
    made.append((PEFTAdapter.configurationName, Array(configuration.serialized(pretty: true).utf8)))
    made.append((PEFTAdapter.weights, try SafetensorsWriter.bytes(of: tensors, metadata: [("format", "pt")])))
    return try PEFTAdapter(path: path, in: MemoryDirectory(path, made))
  }

  /// The α of which α / r is the scaling, or the nearest to it.
  private static func alpha(_ scaling: Double, rank: Int) -> Double {
    let guess = scaling * Double(rank)
    return [guess, guess.nextUp, guess.nextDown].first { $0 / Double(rank) == scaling } ?? guess
  }
}

extension ByteSource {
  /// All bytes of a tensor of the type `type`.
  func bytes(of type: TensorType) throws(FormatError) -> [UInt8] {
    let buffer = RawBuffer(count: type.rawBytes)
    try unsafe read(into: buffer.prefix(type.rawBytes), at: 0)
    return unsafe Array(buffer.prefix(type.rawBytes))
  }
}

extension [UInt8] {
  /// A matrix of elements of `width` bytes with rows and columns exchanged.
  func transposed(rows: Int, columns: Int, width: Int) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(count)
    for column in 0..<columns {
      for row in 0..<rows {
        let start = (row * columns + column) * width
        result += self[start..<start + width]
      }
    }
    return result
  }
}
