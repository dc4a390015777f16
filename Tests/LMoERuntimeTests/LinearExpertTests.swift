import LMoECore
import LMoEExperts
import Testing

@testable import LMoERuntime

/// The experts of a linear layer, used where they are stored or gathered, against the sums of the formula.
@Suite struct LinearExpertTests {
  private static let (inputs, outputs) = (300, 90)
  private let compute = Compute(pool: RuntimeFixture.pool)

  /// Where B is turned, where it is not; few rows, some, and many; the memory for what is gathered is used again.
  @Test(arguments: [false, true]) func `any number of rows`(isTransposed: Bool) throws {
    var numbers = Numbers(isTransposed ? 1 : 2)
    let fixture = try RuntimeFixture()
    let base = try LoadedBase(fixture.bundle(base: "families/llama"), on: RuntimeFixture.pool)
    let rotary = Rotary(base.description.model)
    let workspace = Workspace()
    let linears = [[4, 16, 3, 33], [1], [8, 8]].map { ranks in
      let experts = numbers.experts(
        ranks.map { ($0, isTransposed) }, inputs: Self.inputs, outputs: Self.outputs)
      #expect(ranks.count == 1 || experts.a.plan != nil && experts.b.plan != nil)
      return Linear(
        name: "x", weight: numbers.matrix(Self.outputs, Self.inputs), bias: nil, experts: experts,
        overlay: nil, gate: nil)
    }
    for rows in [1, 2, 8, 9, 32, 33, 70] {
      let x = OwnedRows(rows, Self.inputs)
      let weights = OwnedRows(rows, 4)
      for row in 0..<rows {
        for column in 0..<Self.inputs { x.rows[row, column] = numbers.float() }
        // Nobody has the third.
        for column in 0..<4 { weights.rows[row, column] = column == 2 ? 0 : numbers.float() }
      }
      let outputs = linears.map { _ in OwnedRows(rows, Self.outputs) }
      let pass = Pass(
        compute: compute, workspace: workspace, rotary: rotary, places: [], pieces: [],
        angles: x.rows, recorder: nil)
      pass.weights = weights.rows
      Linear.forward(
        zip(linears, outputs).map { Linear.Call(linear: $0, output: $1.rows) }, x.rows, in: pass)
      withExtendedLifetime((x, weights)) {
        for (linear, output) in zip(linears, outputs) {
          let found = (0..<rows).map { output.rows.array($0) }
          #expect(deviation(found, wanted(linear, x.rows, weights.rows)) <= 1e-5, "\(rows) rows")
        }
      }
    }
  }

  /// W₀x + Σ g·s·B(A·x).
  private func wanted(_ linear: Linear, _ x: Rows, _ weights: Rows) -> [[Double]] {
    let base = linear.weight.floats.map(Double.init)
    let experts = (linear.experts?.slots ?? []).map {
      (slot: $0, a: $0.factors.a.floats.map(Double.init), b: $0.factors.floatsOfB.map(Double.init))
    }
    return (0..<x.count).map { row in
      let input = x.array(row).map(Double.init)
      func product(_ matrix: [Double], _ line: Int) -> Double {
        input.indices.reduce(0) { $0 + input[$1] * matrix[line * input.count + $1] }
      }
      var sums = (0..<linear.outputs).map { product(base, $0) }
      for (slot, a, b) in experts {
        let rank = slot.ranks.count
        let u = (0..<rank).map { product(a, $0) }
        let factor = Double(weights[row, slot.expert]) * Double(slot.scaling)
        for column in sums.indices {
          sums[column] += factor * (0..<rank).reduce(0) { $0 + u[$1] * b[column * rank + $1] }
        }
      }
      return sums
    }
  }

  @Test func `factors are used where they are stored`() throws {
    let fixture = try RuntimeFixture()
    let bundle = try fixture.bundle(
      base: "embedded/base", experts: QuantizedModelTests.names.map { ($0, "embedded/" + $0) }, codec: .raw)
    let base = try LoadedBase(bundle, on: RuntimeFixture.pool)
    let mixture = try Mixture(.uniform, of: base)
    let loaded = try LoadedExperts(mixture.records, in: bundle, on: base.pool)
    let module = "model.layers.0.mlp.up_proj"
    let experts = try #require(
      try loaded.adapting(module, base.weight(module + ".weight"), overlay: nil, compute))
    #expect(experts.slots.count == 2 && experts.a.plan != nil && experts.b.plan != nil)
    for slot in experts.slots {
      let (a, b) = (
        try loaded.tensor(slot.expert, module + ".lora_A.weight"),
        try loaded.tensor(slot.expert, module + ".lora_B.weight")
      )
      #expect(unsafe slot.factors.a.base == a.base && slot.factors.b.base == b.base)
      #expect(experts.down[slot.ranks].floats == a.floats && !slot.factors.isTransposed)
    }
  }
}
