import LMoECore

@testable import LMoERuntime

extension Numbers {
  /// A matrix of float32.
  mutating func matrix(_ rows: Int, _ columns: Int) -> Weight {
    Weight.made(rows: rows, columns: columns) { out in
      for row in 0..<rows { for column in 0..<columns { out[row, column] = float() } }
    }
  }

  /// Experts of a linear layer, of these ranks and with B as it is or transposed; their stacks are made of them when they
  /// are needed.
  mutating func experts(_ wanted: [(rank: Int, isTransposed: Bool)], inputs: Int, outputs: Int)
    -> LinearExperts
  {
    var slots: [LinearExperts.Slot] = []
    var total = 0
    for (expert, (rank, isTransposed)) in wanted.enumerated() {
      let a = matrix(rank, inputs)
      let b = isTransposed ? matrix(rank, outputs) : matrix(outputs, rank)
      slots.append(
        .init(
          expert: expert, ranks: total..<total + rank, scaling: float(), rescaling: nil,
          factors: ExpertFactors(a: a, b: b, isTransposed: isTransposed)))
      total += rank
    }
    let factors = slots.map(\.factors)
    return LinearExperts(slots: slots, a: factors.stackA, b: factors.stackB)
  }
}
