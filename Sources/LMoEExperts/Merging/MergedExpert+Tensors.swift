private import CLMoEKernels
import LMoECore
import LMoEFormat

extension MergedExpert {
  /// How its numbers are stored.
  public enum Precision: String, CaseIterable, Sendable {
    case f32
    case f16
    case bf16

    var dtype: DType {
      switch self {
      case .f32: .f32
      case .f16: .f16
      case .bf16: .bf16
      }
    }
  }

  /// Its tensors under PEFT's names.
  func tensors(_ precision: Precision) throws -> [NewEntry] {
    try modules.flatMap { module -> [NewEntry] in
      let prefix = PEFTTensorName.prefix + module.name
      let product = module.product
      // An embedding's own factors are those of the transpose.
      let factors: [(String, [Int], [Float])] =
        module.isEmbedding
        ? [
          (".lora_embedding_A", [product.rank, product.rows], product.b.transposed(columns: product.rank)),
          (
            ".lora_embedding_B", [product.columns, product.rank],
            product.a.transposed(columns: product.columns)
          ),
        ]
        : [
          (".lora_A.weight", [product.rank, product.columns], product.a),
          (".lora_B.weight", [product.rows, product.rank], product.b),
        ]
      let vectors = module.bias.map { [(".lora_B.bias", [$0.count], $0)] } ?? []
      return try (factors + vectors).map { suffix, shape, values in
        try Self.entry(prefix + suffix, shape, values, precision)
      }
    }
  }

  static func entry(
    _ name: String, _ shape: [Int], _ values: [Float], _ precision: Precision
  ) throws -> NewEntry {
    guard let type = TensorType(dtype: precision.dtype, shape: shape.map { UInt64($0) }) else {
      throw ExpertError(.invalidMerge, path: "", found: "\(name) would have the shape \(shape)")
    }
    guard precision != .f32 else {
      return FloatTensor(name, shape: shape, values: values).entry
        ?? NewEntry(tensor: name, type: type, source: MemorySource([]))
    }
    var bytes = [UInt8](repeating: 0, count: values.count * 2)
    unsafe bytes.withUnsafeMutableBytes { out in
      let out = unsafe out.assumingMemoryBound(to: UInt16.self)
      guard let out = out.baseAddress else { return }
      if precision == .f16 {
        unsafe lmoe_to_f16(values, values.count, out)
      } else {
        unsafe lmoe_to_bf16(values, values.count, out)
      }
    }
    if precision == .f16 { try requireFinite(bytes, name) }
    return NewEntry(tensor: name, type: type, source: MemorySource(bytes))
  }

  /// A float16 ends at 65,504.
  private static func requireFinite(_ bytes: [UInt8], _ name: String) throws {
    let first = unsafe bytes.withUnsafeBytes { unsafe FloatValues(.f16)?.firstNonFinite($0) }
    if let first {
      throw ExpertError(
        .invalidMerge, path: "",
        found: "element \(first) of \(name) is more than a float16 holds; store it as bf16 or f32")
    }
  }

  /// The modules with equal numbers together: α is the rank, so that B·A is not scaled.
  var groups: [ModuleGroup] {
    var groups: [ModuleGroup] = []
    var places: [ModuleGroup.Numbers: Int] = [:]
    for module in modules {
      let rank = module.product.rank
      let numbers = ModuleGroup.Numbers(
        rank: rank, alpha: Double(rank), scaling: 1, isEmbedding: module.isEmbedding,
        hasBias: module.bias != nil)
      let norm = (module.norm * module.norm - module.residual * module.residual).magnitude.squareRoot()
      if let place = places[numbers] {
        groups[place].targets.append(module.name)
        groups[place].norms.append(norm)
      } else {
        places[numbers] = groups.count
        groups.append(ModuleGroup(numbers, targets: [module.name], norms: [norm]))
      }
    }
    return groups
  }
}
