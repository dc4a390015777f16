import LMoECore
import LMoEFormat

extension BundleExport {
  /// Writes the expert `name` to the new directory `path` as an adapter of mlx-lm.
  ///
  /// Factors keep their dtype. Where ranks differ, the smaller are filled up with zeros; where scalings differ,
  /// each is multiplied into B, and the scale is 1.
  ///
  /// - Returns: The names of the files written.
  /// - Throws: `ExpertError` with `not-exportable` for what mlx-lm cannot say, `FormatError`; nothing is left at
  ///   `path` then.
  public func writeMLX(_ name: String, to path: String) throws -> [String] {
    let factors = try AdapterFactors(name, of: bundle)
    try factors.requirePlain(for: "an adapter of mlx-lm", allowsDoRA: true)
    let isDoRA = factors.modules.contains(where: \.numbers.isDoRA)
    guard !isDoRA || factors.modules.allSatisfy(\.numbers.isDoRA) else {
      throw factors.refused("some of its modules are DoRA, which mlx-lm cannot say")
    }
    let model = try bundle.baseDescription().model
    let rank = factors.modules.map(\.numbers.rank).max() ?? 1
    let scalings = Set(factors.modules.map(\.numbers.scaling))
    let scale = scalings.count == 1 ? scalings.first ?? 1 : 1
    var keys: Set<String> = []
    var tensors: [NewEntry] = []
    for module in factors.modules {
      if module.name == "lm_head", model.tiesEmbeddings {
        throw factors.refused("it changes lm_head, which mlx-lm does not have apart from the embedding here")
      }
      keys.insert(Self.key(module.name))
      let ratio = scalings.count == 1 ? 1 : module.numbers.scaling
      tensors.append(
        try factors.transposed(module.a, named: module.name + ".lora_a", columns: rank, times: 1))
      tensors.append(
        try factors.transposed(module.b, named: module.name + ".lora_b", rows: rank, times: ratio))
      if let magnitude = module.magnitude {
        tensors.append(
          NewEntry(
            tensor: module.name + ".m", type: magnitude.entry.type, source: bundle.source(of: magnitude.entry)
          ))
      }
    }
    let configuration: JSON = [
      "fine_tune_type": isDoRA ? "dora" : "lora",
      "lora_parameters": [
        "dropout": 0, "keys": .array(keys.sorted().map(JSON.string)), "rank": .integer(rank),
        "scale": .double(scale),
      ], "model": factors.card["base"]?["name"] ?? .null, "num_layers": .integer(model.layerCount),
    ]
    return try NewDirectory.making(path, in: system) { made, directory in
      try write(
        Array(configuration.serialized(pretty: true).utf8), PEFTAdapter.configurationName, in: directory,
        &made)
      try SafetensorsWriter.write(
        try made.place(MLXAdapter.weights, in: directory, of: bundle.path), tensors: tensors, in: system)
      return [PEFTAdapter.configurationName, MLXAdapter.weights]
    }
  }

  /// What mlx-lm calls a module inside a layer, or the whole path of one outside.
  private static func key(_ module: String) -> String {
    let head = "model.layers."
    guard module.hasPrefix(head) else { return module }
    let parts = module.utf8.split(separator: UInt8(ascii: ".")).dropFirst(3)
    return parts.map { String(decoding: $0, as: UTF8.self) }.joined(separator: ".")
  }
}

extension AdapterFactors {
  /// A factor with rows and columns exchanged, filled up with zeros to so many of them, in memory.
  fileprivate func transposed(
    _ factor: Factor, named name: String, rows: Int? = nil, columns: Int? = nil, times scale: Double
  ) throws -> NewEntry {
    let values = try bundle.floats(of: [BankedEntry(bank: bank.name, entry: factor.entry)])[0]
    // As stored; the result is the other way round, unless it was stored so.
    let (height, width) = (factor.entry.type.shape[0], factor.entry.type.shape[1])
    let shape = factor.isTransposed ? [height, width] : [width, height]
    let (outer, inner) = (rows ?? shape[0], columns ?? shape[1])
    let dtype = factor.entry.type.dtype
    let stored: DType = scale == 1 && [.f32, .f16, .bf16].contains(dtype) ? dtype : .f32
    var floats = [Float](repeating: 0, count: outer * inner)
    for row in 0..<min(outer, shape[0]) {
      for column in 0..<min(inner, shape[1]) {
        let value = factor.isTransposed ? values[row * width + column] : values[column * width + row]
        floats[row * inner + column] = scale == 1 ? value : Float(scale * Double(value))
      }
    }
    guard let cast = FloatCast(stored),
      let type = TensorType(dtype: stored, shape: [UInt64(outer), UInt64(inner)])
    else { throw refused("the tensor \(factor.entry.name) is too large") }
    var bytes = [UInt8](repeating: 0, count: type.rawBytes)
    unsafe floats.withUnsafeBufferPointer { floats in
      unsafe bytes.withUnsafeMutableBytes { unsafe cast.write(floats, to: $0) }
    }
    return NewEntry(tensor: name, type: type, source: MemorySource(bytes))
  }
}
