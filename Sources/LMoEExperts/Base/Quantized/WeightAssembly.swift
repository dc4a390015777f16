import LMoECore
import LMoEFormat

/// Puts the tensors of a quantized checkpoint together: several of its own for each weight.
struct WeightAssembly {
  private let method: QuantizationMethod
  private let path: String
  private var parts: [ByteKey: CheckpointWeight] = [:]
  private var result: [CheckpointWeight] = []

  /// The largest tensor that says something about others.
  private static let largestState = 1 << 20

  init(_ tensors: [CheckpointWeight], _ method: QuantizationMethod, path: String) {
    (self.method, self.path) = (method, path)
    for tensor in tensors { parts[ByteKey(tensor.name)] = tensor }
  }

  /// All weights, quantized ones as blocks.
  ///
  /// - Parameter expected: The tensors of the model: a bias of zeros that is none of them is left out, for some
  ///   tools write one for every layer.
  mutating func weights(expected: Set<ByteKey>?) throws -> [CheckpointWeight] {
    for key in parts.keys.sorted() {
      switch method {
      case .nf4:
        if let module = Self.stem(of: key.text, before: ".weight.quant_state.bitsandbytes__nf4") {
          result.append(try nf4(module + ".weight"))
        }
      case .gptq(let group, let isOffByOne):
        if let module = Self.stem(of: key.text, before: ".qweight") {
          result.append(try groups(module, group, .gptq(isOffByOne: isOffByOne)))
        }
      case .awq(let group):
        if let module = Self.stem(of: key.text, before: ".qweight") {
          result.append(try groups(module, group, .awq))
        }
      }
    }
    for (key, tensor) in parts.sorted(by: { $0.key < $1.key }) {
      if let expected, !expected.contains(key), !expected.contains(ByteKey("model." + key.text)),
        key.text.hasSuffix(".bias"), try bytes(tensor).allSatisfy({ $0 == 0 })
      {
        continue
      }
      result.append(tensor)
    }
    return result
  }

  /// What stands before an ending.
  private static func stem(of name: String, before end: String) -> String? {
    guard name.utf8.count > end.utf8.count, name.utf8.suffix(end.utf8.count).elementsEqual(end.utf8) else {
      return nil
    }
    return String(decoding: name.utf8.dropLast(end.utf8.count), as: UTF8.self)
  }

  private func invalid(_ name: String, expected: String, found: String) -> ExpertError {
    ExpertError(.invalidFactor, path: path, name: name, expected: expected, found: found)
  }

  /// Takes a part of a weight.
  private mutating func take(_ name: String, _ dtypes: [DType]) throws -> CheckpointWeight {
    guard let part = parts.removeValue(forKey: ByteKey(name)) else {
      throw ExpertError(.missingWeight, path: path, name: name, expected: "quantized")
    }
    guard dtypes.contains(part.type.dtype) else {
      throw invalid(
        name, expected: dtypes.map(\.name).joined(separator: " or "),
        found: "the dtype \(part.type.dtype.name)")
    }
    return part
  }

  /// The bytes of a small tensor.
  private func bytes(_ tensor: CheckpointWeight) throws -> [UInt8] {
    guard tensor.type.rawBytes <= Self.largestState else {
      throw invalid(
        tensor.name, expected: "at most \(Self.largestState) bytes", found: "\(tensor.type.rawBytes)")
    }
    let buffer = RawBuffer(count: tensor.type.rawBytes)
    let bytes = unsafe buffer.prefix(tensor.type.rawBytes)
    try unsafe tensor.source.read(into: bytes, at: 0)
    return unsafe Array(bytes)
  }

  private mutating func nf4(_ name: String) throws -> CheckpointWeight {
    let quants = try take(name, [.u8])
    let absmax = try take(name + ".absmax", [.u8])
    let map = try take(name + ".quant_map", [.f32])
    let nested = try take(name + ".nested_absmax", [.f32])
    let nestedMap = try take(name + ".nested_quant_map", [.f32])
    let state = try take(name + ".quant_state.bitsandbytes__nf4", [.u8])
    let json = try? JSON(parsing: try bytes(state))
    guard let json, let shape = json["shape"]?.array?.compactMap(\.int), shape.count == 2,
      json["blocksize"]?.int == 64, json["nested_blocksize"]?.int == 256,
      let offset = json["nested_offset"]?.double,
      let type = QuantizedType.nf4.type(of: shape)
    else {
      throw invalid(
        state.name, expected: "the state of a matrix in blocks of 64, doubly quantized in blocks of 256",
        found: "another one")
    }
    let count = type.elementCount
    guard quants.type.rawBytes == (count + 1) / 2, absmax.type.elementCount == (count + 63) / 64,
      nested.type.elementCount == (count + 16_383) / 16_384
    else { throw invalid(name, expected: "as many numbers as the shape \(shape) has", found: "others") }
    for (tensor, values) in [(map, NF4Constants.values), (nestedMap, NF4Constants.dynamic)] {
      // The last entries tell enough of tables that one library writes; the first of the dynamic one may be -1.
      let found = try tensor.source.floats(tensor.type)
      guard found.count == values.count, zip(found, values).dropFirst().allSatisfy({ $0 == $1 }) else {
        throw invalid(tensor.name, expected: "bitsandbytes' own table", found: "other values")
      }
    }
    return CheckpointWeight(
      name: name, type: type,
      source: NF4Source(
        quants: quants.source, quantBytes: quants.type.rawBytes, absmax: absmax.source,
        absmaxCount: absmax.type.elementCount, nested: try nested.source.floats(nested.type),
        offset: Float(offset)))
  }

  private mutating func groups(
    _ module: String, _ group: Int, _ layout: GroupAssembly.Layout
  ) throws -> CheckpointWeight {
    let quants = try take(module + ".qweight", [.i32])
    let zeros = try take(module + ".qzeros", [.i32])
    let scales = try take(module + ".scales", [.f16])
    guard quants.type.shape.count == 2, scales.type.shape.count == 2 else {
      throw invalid(module + ".qweight", expected: "two dimensions", found: "the shape \(quants.type.shape)")
    }
    let outputs = scales.type.shape[1]
    let inputs = scales.type.shape[0] * group
    let isGPTQ = if case .gptq = layout { true } else { false }
    guard outputs % 8 == 0, quants.type.shape == (isGPTQ ? [inputs / 8, outputs] : [inputs, outputs / 8]),
      zeros.type.shape == [inputs / group, outputs / 8],
      let type = TensorType(
        dtype: .block, geometry: BlockGeometry.i4Group(group), shape: [UInt64(outputs), UInt64(inputs)])
    else {
      throw invalid(
        module + ".qweight", expected: "four bits for each of \(outputs) × \(inputs)",
        found: "the shape \(quants.type.shape)")
    }
    if let order = parts.removeValue(forKey: ByteKey(module + ".g_idx")) {
      try requireOrder(order, inputs: inputs, group: group)
    }
    let assembly = GroupAssembly(
      layout: layout, group: group, inputs: inputs, outputs: outputs, quants: quants, zeros: zeros,
      scales: scales)
    try assembly.check(path: path, module: module)
    return CheckpointWeight(name: module + ".weight", type: type, source: AssembledSource(assembly))
  }

  /// Makes sure that groups are runs of neighbours.
  private func requireOrder(_ order: CheckpointWeight, inputs: Int, group: Int) throws {
    let bytes = try bytes(order)
    let isPlain =
      order.type.dtype == .i32 && order.type.elementCount == inputs
      && (0..<inputs).allSatisfy { input in
        (0..<4).allSatisfy { bytes[4 * input + $0] == UInt8(truncatingIfNeeded: (input / group) >> (8 * $0)) }
      }
    guard isPlain else {
      throw ExpertError(
        .quantizedModel, path: path, found: "gptq with desc_act, whose groups are scattered: \(order.name)")
    }
  }
}
