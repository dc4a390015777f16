import CLMoEKernels

/// A gate as the kernels know it, with the memory that it points to.
@safe final class GateKernel: @unchecked Sendable {
  /// Valid while this object is.
  @unsafe let gate: UnsafeMutablePointer<lmoe_gate>
  private let rows: Weight?
  private let terms: Weight?
  @unsafe private let columns: UnsafeMutablePointer<Int>
  @unsafe private let always: UnsafeMutablePointer<Int>

  init(
    _ score: GateInstance.Score, _ normaliser: GateInstance.Normaliser, temperature: Float, rows: Weight?,
    terms: Weight?, routed: [Int], always own: [Int], width: Int
  ) {
    (self.rows, self.terms) = (rows, terms)
    unsafe columns = Self.copy(routed)
    unsafe always = Self.copy(own)
    unsafe gate = .allocate(capacity: 1)
    unsafe gate.initialize(
      to: lmoe_gate(
        score: Self.code(score), normaliser: Self.code(normaliser), chosen: Self.chosen(normaliser),
        temperature: temperature, routed: routed.count, columns: columns,
        terms: terms.map { unsafe UnsafePointer($0.mutableRows.base) }, rows: rows?.matrix ?? lmoe_matrix(),
        always_count: own.count, always: always, width: width))
  }

  deinit {
    unsafe gate.deallocate()
    unsafe columns.deallocate()
    unsafe always.deallocate()
  }

  @unsafe private static func copy(_ numbers: [Int]) -> UnsafeMutablePointer<Int> {
    let copy = UnsafeMutablePointer<Int>.allocate(capacity: max(1, numbers.count))
    for (index, number) in numbers.enumerated() { unsafe copy[index] = number }
    return unsafe copy
  }

  private static func code(_ score: GateInstance.Score) -> Int32 {
    let code =
      switch score {
      case .constant: LMOE_SCORE_CONSTANT
      case .linear: LMOE_SCORE_LINEAR
      case .dot: LMOE_SCORE_DOT
      case .absoluteDot: LMOE_SCORE_ABSOLUTE_DOT
      case .cosine: LMOE_SCORE_COSINE
      }
    return Int32(code)
  }

  private static func code(_ normaliser: GateInstance.Normaliser) -> Int32 {
    let code =
      switch normaliser {
      case .none: LMOE_WEIGHTS_PLAIN
      case .softmax: LMOE_WEIGHTS_SOFTMAX
      case .topKRenormalised: LMOE_WEIGHTS_TOP_RENORMALISED
      case .topKRaw: LMOE_WEIGHTS_TOP_RAW
      }
    return Int32(code)
  }

  private static func chosen(_ normaliser: GateInstance.Normaliser) -> Int {
    switch normaliser {
    case .none, .softmax: 0
    case .topKRenormalised(let k), .topKRaw(let k): max(0, k)
    }
  }

  /// Turns the products of the gate's rows with inputs into weights.
  ///
  /// - Parameters:
  ///   - products: [T, 2 · routed], of which the first half of a row is the products; lost.
  ///   - input: What the gate looks at [T, inputs].
  ///   - weights: Where the weights go [T, width].
  func weigh(_ products: Rows, _ input: Rows, into weights: Rows) {
    unsafe withUnsafeTemporaryAllocation(of: Int.self, capacity: max(1, products.width / 2)) { members in
      for row in 0..<input.count {
        unsafe lmoe_gate_weigh(
          gate, input.row(row), input.width, products.row(row), members.baseAddress, weights.row(row))
      }
    }
  }
}
