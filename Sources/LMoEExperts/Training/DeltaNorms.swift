import LMoECore
import LMoEFormat

/// How large the deltas of modules are, measured from their factors.
struct DeltaNorms {
  /// The factors of a module.
  struct Factors: Sendable {
    let numbers: ModuleGroup.Numbers
    let a: [Float]
    let b: [Float]
  }

  /// The largest rank whose Gram matrices are computed.
  private static let largestRank = 1024

  /// ‖scaling · B·A‖_F of each; nil where the rank is too large to tell quickly.
  static func measure(_ modules: [Factors], on pool: WorkerPool) -> [Double?] {
    let results = Guarded([Double?](repeating: nil, count: modules.count))
    let queue = WorkQueue(count: modules.count)
    pool.run { _ in
      while let index = queue.next() {
        let module = modules[index]
        guard module.numbers.rank <= largestRank else { continue }
        let squared = squaredNormOfProduct(b: module.b, a: module.a, rank: module.numbers.rank)
        let norm = abs(module.numbers.scaling) * max(0, squared).squareRoot()
        results.withValue { $0[index] = norm.isFinite ? norm : nil }
      }
    }
    return results.withValue { $0 }
  }

  /// √Σn², or nil where one is not known.
  static func total(_ norms: [Double?]) -> Double? {
    var sum = 0.0
    for norm in norms {
      guard let norm else { return nil }
      sum += norm * norm
    }
    return norms.isEmpty ? nil : sum.squareRoot()
  }

  /// ‖ΔW‖_F over ‖W‖_F of the weights that `modules` are.
  static func share(_ norm: Double?, of modules: [String], in base: BaseDescription?) -> Double? {
    guard let norm, let base else { return nil }
    let weights = total(
      modules.map { base.names.stored($0 + ".weight").flatMap { base.norms[ByteKey($0)] } })
    return weights.flatMap { $0 > 0 ? norm / $0 : nil }
  }
}

extension FloatTensor {
  /// Its values, if all of them are numbers.
  ///
  /// - Throws: `ExpertError` with `non-finite`, or with `invalid-training` where values and shape do not go
  ///   together.
  func finiteFloats(path: String) throws -> [Float] {
    guard type != nil else {
      throw ExpertError(
        .invalidTraining, path: path, name: name, found: "values that do not fill the shape \(shape)")
    }
    let values = try floats()
    if let first = values.firstIndex(where: { !$0.isFinite }) {
      throw ExpertError(.nonFinite, path: path, name: name, found: "\(first)")
    }
    return values
  }
}

extension [TensorType] {
  /// dtype name → elements, as cards have it; of blocks the name is that of their scheme.
  var dtypeCounts: JSON {
    var names: [String] = DType.allCases.filter { $0 != .block }.map(\.name)
    for type in self where !names.contains(type.dtypeName) { names.append(type.dtypeName) }
    return .object(
      names.compactMap { name in
        let types = filter { $0.dtypeName == name }
        return types.isEmpty ? nil : (name, .integer(types.reduce(0) { $0 + $1.elementCount }))
      })
  }
}
