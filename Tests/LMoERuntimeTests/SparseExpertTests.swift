import LMoECore
import LMoEExperts
import Testing

@testable import LMoERuntime

/// Experts that few rows have, against the sums of the formula.
@Suite struct SparseExpertTests {
  private static let (rows, inputs, outputs) = (40, 70, 90)
  private let compute = Compute(pool: RuntimeFixture.pool)

  /// Experts of ranks 1, 2, 3 in turns, of which every other one has B as it is, the others transposed.
  private func experts(_ count: Int, _ numbers: inout Numbers) -> LinearExperts {
    numbers.experts(
      (0..<count).map { (1 + $0 % 3, $0 % 2 == 1) }, inputs: Self.inputs, outputs: Self.outputs)
  }

  private func random(_ count: Int, _ width: Int, _ numbers: inout Numbers) -> OwnedRows {
    let owned = OwnedRows(count, width)
    for row in 0..<count { for column in 0..<width { owned.rows[row, column] = numbers.float() } }
    return owned
  }

  @Test(arguments: [0, 1, 2]) func `each row has the experts that it has`(chosen: Int) throws {
    var numbers = Numbers(chosen)
    let experts = experts(16, &numbers)
    let x = random(Self.rows, Self.inputs, &numbers)
    let output = random(Self.rows, Self.outputs, &numbers)
    let weights = OwnedRows(Self.rows, 17)
    weights.rows.clear()
    for row in 0..<Self.rows {
      for _ in 0..<chosen { weights.rows[row, numbers.integer(0...16)] = numbers.float() }
    }
    let sparse = try #require(
      SparseExperts(experts, weights: weights.rows, having: { ExpertRows(weights.rows) }))
    var wanted = (0..<Self.rows).map { output.rows.array($0).map(Double.init) }
    for row in 0..<Self.rows {
      for slot in experts.slots {
        for rank in slot.ranks {
          var sum = 0.0
          for k in 0..<Self.inputs {
            sum += Double(x.rows[row, k]) * Double(experts.down.element(rank, k))
          }
          sum *= Double(weights.rows[row, slot.expert]) * Double(slot.scaling)
          for column in 0..<Self.outputs {
            wanted[row][column] += sum * Double(experts.up.element(rank, column))
          }
        }
      }
    }
    sparse.add(x.rows, to: output.rows, compute, Workspace())
    withExtendedLifetime((x, weights)) {
      #expect(deviation((0..<Self.rows).map { output.rows.array($0) }, wanted) <= 1e-5)
    }
  }

  @Test func `where most rows have most experts, and where rows are few, it is not for them`() {
    var numbers = Numbers(9)
    let experts = experts(16, &numbers)
    let dense = random(Self.rows, 16, &numbers)
    #expect(SparseExperts(experts, weights: dense.rows, having: { ExpertRows(dense.rows) }) == nil)
    let few = OwnedRows(8, 16)
    few.rows.clear()
    #expect(SparseExperts(experts, weights: few.rows, having: { ExpertRows(few.rows) }) == nil)
  }
}
