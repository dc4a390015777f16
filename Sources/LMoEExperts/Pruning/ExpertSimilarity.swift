public import LMoECore
import LMoEFormat

/// How alike the deltas of experts are: ⟨Δᵢ, Δⱼ⟩ / (‖Δᵢ‖·‖Δⱼ‖) over all modules.
///
/// Inner products come from the factors, tr((AᵢAⱼᵀ)(BⱼᵀBᵢ)), so that no delta is ever written out; those with
/// magnitudes (DoRA) need the base's weights, and all entries. Whole tensors and rows that an expert brings along
/// do not count.
public struct ExpertSimilarity: Sendable {
  /// The cosines; 0 with an expert whose delta is 0.
  public let cosines: [[Double]]
  /// ‖Δᵢ‖_F.
  public let norms: [Double]

  /// Factors that are read at a time.
  private static let batchBytes = 24 << 20

  /// Compares experts.
  ///
  /// - Parameters:
  ///   - base: Has the weights that DoRA rescales.
  /// - Throws: `ExpertError` with `merge-mismatch` for experts of bases that differ, `no-static-delta` where
  ///   weights of the base are needed and missing, `no-linear-algebra`; `FormatError`.
  public init(_ inputs: [MergeInput], base: BaseWeights? = nil, on pool: WorkerPool = .shared) throws {
    let merge = try Merge(
      inputs, weights: inputs.map { _ in 1 }, by: MergeMethod(.linear), base: base, isIntoBase: true)
    try LinearAlgebra.require()
    var sums = inputs.map { _ in [Double](repeating: 0, count: inputs.count) }
    var next = 0
    while next < merge.modules.count {
      var end = next
      var bytes = 0
      repeat {
        bytes += merge.modules[end].bytes
        end += 1
      } while end < merge.modules.count && bytes < Self.batchBytes
      let loaded = try merge.load(Array(merge.modules[next..<end]), on: pool)
      let results = Guarded([[[Double]]](repeating: [], count: loaded.count))
      try OrderedJobs<any Error>.run(count: loaded.count, on: pool) { (turn) throws(any Error) in
        let module = loaded[turn.index]
        let products = try module.isFactored ? module.innerProducts() : module.denseInnerProducts()
        results.withValue { $0[turn.index] = products }
      }
      // In the order of the modules, so that the sums do not depend on who was first.
      for (module, products) in zip(loaded, results.withValue { $0 }) {
        for (row, first) in module.terms.enumerated() {
          for (column, second) in module.terms.enumerated() {
            sums[first.input][second.input] += products[row][column]
          }
        }
      }
      next = end
    }
    let lengths = inputs.indices.map { max(0, sums[$0][$0]).squareRoot() }
    norms = lengths
    cosines = inputs.indices.map { row in
      inputs.indices.map { column in
        if row == column { return 1 }
        let length = lengths[row] * lengths[column]
        return length > 0 ? max(-1, min(1, sums[row][column] / length)) : 0
      }
    }
  }

  /// Takes what was measured elsewhere.
  init(cosines: [[Double]], norms: [Double]) { (self.cosines, self.norms) = (cosines, norms) }

  /// The expert that is most like another; nil where there is only one.
  public func nearest(to index: Int) -> (index: Int, cosine: Double)? {
    cosines[index].indices.filter { $0 != index }
      .max { cosines[index][$0] < cosines[index][$1] }
      .map { ($0, cosines[index][$0]) }
  }
}
