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

  /// Ranks of the first ten are trained; what is not, and what no row has, is left alone.
  @Test(arguments: [0, 1, 2], [0, 19])
  func `training is that of the formula`(chosen: Int, ranks: Int) throws {
    var numbers = Numbers(20 + chosen)
    let (total, rows) = (31, Self.rows)
    let (a, b) = (numbers.matrix(total, Self.inputs), numbers.matrix(total, Self.outputs))
    var slots: [LinearExperts.Slot] = []
    for expert in 0..<16 {
      let first = slots.last?.ranks.upperBound ?? 0
      let own = first..<first + 1 + expert % 3
      slots.append(
        .init(
          expert: 15 - expert, ranks: own, scaling: numbers.float(), rescaling: nil,
          factors: ExpertFactors(a: a[own], b: b[own], isTransposed: true)))
    }
    var experts = LinearExperts(slots: slots, a: FactorStack(a), b: FactorStack(b))
    let (ownA, ownB) = (Parameter("a", .a, a, rows: ranks), Parameter("b", .b, b, rows: ranks))
    if ranks > 0 {
      experts.trained = TrainedFactors(ranks: ranks, a: ownA, b: ownB, magnitudes: [:], norms: [:])
    }
    let widths = [Self.inputs, Self.outputs, Self.outputs, Self.inputs, 16]
    let memory = widths.map { random(rows, $0, &numbers) }
    let (x, y, d, dx) = (memory[0].rows, memory[1].rows, memory[2].rows, memory[3].rows)
    let gammas = memory[4].rows
    let chosenWeights = OwnedRows(rows, 16)
    let weights = chosenWeights.rows
    weights.clear()
    for row in 0..<rows { for _ in 0..<chosen { weights[row, numbers.integer(0...15)] = numbers.float() } }

    func doubles(_ rows: Rows) -> [[Double]] { (0..<rows.count).map { rows.array($0).map(Double.init) } }
    var (wantedY, wantedX, wantedGammas) = (doubles(y), doubles(dx), doubles(gammas))
    var (wantedA, wantedB) = (doubles(ownA.gradient), doubles(ownB.gradient))
    for row in 0..<rows {
      for slot in slots where weights[row, slot.expert] != 0 {
        let scaling = Double(slot.scaling), factor = scaling * Double(weights[row, slot.expert])
        for rank in slot.ranks {
          let u = (0..<Self.inputs).reduce(0) { $0 + Double(x[row, $1]) * Double(a.element(rank, $1)) }
          let q = (0..<Self.outputs).reduce(0) { $0 + Double(d[row, $1]) * Double(b.element(rank, $1)) }
          wantedGammas[row][slot.expert] += scaling * u * q
          for j in 0..<Self.outputs {
            wantedY[row][j] += factor * u * Double(b.element(rank, j))
            if rank < ranks { wantedB[rank][j] += factor * u * Double(d[row, j]) }
          }
          for i in 0..<Self.inputs {
            wantedX[row][i] += factor * q * Double(a.element(rank, i))
            if rank < ranks { wantedA[rank][i] += factor * q * Double(x[row, i]) }
          }
        }
      }
    }

    let sparse = try #require(SparseExperts(experts, weights: weights, having: { ExpertRows(weights) }))
    let pieces = (0..<3).map { _ in OwnedRows(sparse.pairs, sparse.rank) }
    let (u, scaled, q) = (pieces[0].rows, pieces[1].rows, pieces[2].rows)
    let workspace = TrainingWorkspace()
    sparse.forward(x, into: u, scaled: scaled, compute, workspace)
    sparse.add(scaled, to: y, compute, workspace)
    sparse.backward(d, x, u, into: q, gammas, compute, workspace)
    sparse.passOn(q, to: dx, compute, workspace)
    withExtendedLifetime((memory, pieces, chosenWeights)) {
      for (found, wanted) in [(y, wantedY), (dx, wantedX), (gammas, wantedGammas)] {
        #expect(deviation(doubles(found).map { $0.map(Float.init) }, wanted) <= 1e-5)
      }
      for (found, wanted) in [(ownA.gradient, wantedA), (ownB.gradient, wantedB)] where ranks > 0 {
        if chosen == 0 {
          #expect(doubles(found).joined().allSatisfy { $0 == 0 })
        } else {
          #expect(deviation(doubles(found).map { $0.map(Float.init) }, wanted) <= 1e-5)
        }
      }
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
    // Nor where one of them is as large as many others that rows have.
    let unequal = numbers.experts(
      [(rank: 60, isTransposed: false)] + (0..<15).map { _ in (rank: 1, isTransposed: false) },
      inputs: Self.inputs, outputs: Self.outputs)
    let some = OwnedRows(Self.rows, 16)
    some.rows.clear()
    for row in 0..<Self.rows { for column in 1...3 { some.rows[row, column] = 1 } }
    #expect(SparseExperts(unequal, weights: some.rows, having: { ExpertRows(some.rows) }) != nil)
    some.rows[0, 0] = 1
    #expect(SparseExperts(unequal, weights: some.rows, having: { ExpertRows(some.rows) }) == nil)
  }
}
