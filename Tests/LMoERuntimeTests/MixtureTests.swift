import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle
@testable import LMoERuntime

/// Soft mixtures of four experts, token by token, against double precision.
@Suite struct MixtureTests {
  static let cases = MixtureCase.all.filter { !$0.name.hasSuffix("bias-layer") }

  private func deviation(_ found: [[Float]], from item: MixtureCase) throws -> Double {
    let expected = try item.expected()
    let positions = try expected.integers("positions")
    let values = try expected.floats("logits")
    let vocabulary = values.count / positions.count
    return LMoERuntimeTests.deviation(
      positions.map { found[$0] },
      positions.indices.map { Array(values[$0 * vocabulary..<($0 + 1) * vocabulary]) })
  }

  private func model(_ bundle: Bundle, _ selection: Selection = .gate("g")) throws -> Model {
    try Model(LoadedBase(bundle, on: RuntimeFixture.pool), selection: selection)
  }

  @Test func `there are as many cases as there are`() { #expect(Self.cases.count >= 40) }

  @Test(arguments: cases) func `logits and weights are those of the formulas`(item: MixtureCase) throws {
    let fixture = try RuntimeFixture()
    let model = try model(item.bundle(fixture))
    let expected = try item.expected()
    let tokens = try expected.integers("input_ids")
    let recorder = model.makeRecorder()
    let logits = try model.logits(tokens, recorder: recorder)
    #expect(try deviation(logits, from: item) <= 2e-5)
    // In steps: the gate sees each token once, whatever the step.
    let stepped = model.makeRecorder()
    let again = try model.logits(tokens, steps: [30, 1, 1, 1, 31], recorder: stepped)
    #expect(LMoERuntimeTests.deviation(again, logits) <= 1e-5)
    for name in expected.names where name.hasPrefix("gate/") {
      let place = String(name.dropFirst(5))
      let weights = try expected.floats(name)
      for found in [recorder, stepped] {
        let own = try #require(found.weights[place], "\(place)")
        let width = found.columns.count
        for token in tokens.indices {
          for (column, expert) in item.experts.enumerated() {
            let wanted = weights[token * item.experts.count + column]
            let index = found.columns.firstIndex(of: expert.name)
            let value = index.map { own[token * width + $0] } ?? 0
            // An expert that is not at a place has no say there, whatever a constant gate gives it.
            guard model.acts(expert.name, at: place) else { continue }
            #expect(abs(Double(value) - wanted) <= 1e-5, "\(place) \(token) \(expert.name)")
          }
        }
      }
    }
  }

  @Test(
    arguments: cases.filter {
      $0.name.hasPrefix("llama/") && $0.regauged.allSatisfy { !$0.directory.isEmpty }
    })
  func `experts in other factors are the same experts`(item: MixtureCase) throws {
    let fixture = try RuntimeFixture()
    let tokens = try item.expected().integers("input_ids")
    let logits = try model(item.bundle(fixture)).logits(tokens)
    let other = try model(item.bundle(fixture, experts: item.regauged)).logits(tokens)
    #expect(other != logits)
    #expect(LMoERuntimeTests.deviation(other, logits) <= 1e-4)
  }

  @Test(
    arguments: cases.filter {
      ["llama/linear-module", "llama/top-2-raw-module", "qwen2/dora-layer"].contains($0.name)
    })
  func `experts in any order`(item: MixtureCase) throws {
    let fixture = try RuntimeFixture()
    for experts in [Array(item.experts.reversed()), Array(item.experts[2...] + item.experts[..<2])] {
      let renamed = experts
      let logits = try model(item.bundle(fixture, experts: renamed))
        .logits(item.expected().integers("input_ids"))
      #expect(try deviation(logits, from: item) <= 2e-5)
    }
  }

  @Test(arguments: ["llama/linear-module", "qwen2/dora-module"])
  func `each linear layer by itself`(name: String) throws {
    let item = try MixtureCase(name)
    let fixture = try RuntimeFixture()
    let base = try LoadedBase(item.bundle(fixture), on: RuntimeFixture.pool)
    let mixture = try Mixture(.gate("g"), of: base)
    let compute = Compute(pool: base.pool)
    let builder = ModelBuilder(
      base: base, experts: try LoadedExperts(mixture.records, in: base.bundle, on: base.pool),
      isOutright: false, gate: mixture.gate, compute: compute)
    let reference = try Reference("mixtures/\(name)/linears.safetensors")
    let modules = reference.names.filter { $0.hasPrefix("x/") }.map { String($0.dropFirst(2)) }
    #expect(modules.count >= 14)
    for module in modules {
      let input = try reference.floats("x/" + module)
      let expected = try reference.floats("y/" + module)
      let linear = try builder.linear(module)
      let count = input.count / linear.weight.columns
      let x = OwnedRows(count, linear.weight.columns)
      for (index, value) in input.enumerated() { x.rows.base[index] = Float(value) }
      for rows in [0..<count, 0..<1, 3..<7] {
        let y = OwnedRows(rows.count, linear.outputs)
        let pass = Pass(
          compute: compute, workspace: Workspace(),
          rotary: Rotary(base.description.model), places: [], pieces: [], angles: y.rows, recorder: nil)
        defer { withExtendedLifetime((x, y)) {} }
        Linear.forward([Linear.Call(linear: linear, output: y.rows)], x.rows[rows], in: pass)
        for row in 0..<rows.count {
          let wanted = (0..<linear.outputs).map { expected[(rows.lowerBound + row) * linear.outputs + $0] }
          let length = wanted.reduce(0) { $0 + $1 * $1 }.squareRoot()
          let error = zip(y.rows.array(row), wanted).reduce(0) {
            $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1)
          }
          #expect(error.squareRoot() <= 1e-5 * length, "\(module)")
        }
      }
    }
  }

  @Test func `a mixture of products, not a product of mixtures`() throws {
    // The same expert twice, once as (A, B) and once as (−A, −B) would cancel in a product of mixtures.
    let item = try MixtureCase("llama/given")
    let fixture = try RuntimeFixture()
    let bundle = try item.bundle(fixture)
    let tokens = try item.expected().integers("input_ids")
    let alone = try model(bundle, .weights([.init("math", 1)])).logits(tokens)
    let outright = try model(bundle, .expert("math")).logits(tokens)
    let halves = try fixture.bundle(
      base: item.base,
      experts: [
        ("one", "mixtures/llama/experts/math"), ("two", "mixtures/llama/regauged/math"),
      ])
    let mixed = try model(halves, .weights([.init("one", 0.5), .init("two", 0.5)])).logits(tokens)
    #expect(LMoERuntimeTests.deviation(mixed, alone) <= 1e-4)
    #expect(LMoERuntimeTests.deviation(outright, alone) <= 1e-6)
    #expect(LMoERuntimeTests.deviation(try model(halves, .uniform).logits(tokens), alone) <= 1e-4)
  }

  @Test func `weight 0 changes nothing, and weights may have any sign`() throws {
    let item = try MixtureCase("llama/given")
    let fixture = try RuntimeFixture()
    let bundle = try item.bundle(fixture)
    let tokens = try item.expected().integers("input_ids")
    let base = try model(bundle, .base).logits(tokens)
    let zeros = item.experts.map { Selection.WeightedExpert($0.name, 0) }
    #expect(try model(bundle, .weights(zeros)).logits(tokens) == base)
    #expect(try model(bundle, .weights([])).logits(tokens) == base)
    let one = try model(bundle, .weights([.init("math", -0.5)])).logits(tokens)
    let more = try model(bundle, .weights([.init("math", -0.5), .init("code", 0)])).logits(tokens)
    #expect(LMoERuntimeTests.deviation(more, one) <= 1e-6)
    #expect(LMoERuntimeTests.deviation(one, base) > 1e-3)
  }

  @Test func `weights equal the exact deltas added to the base`() throws {
    // The oracle of this case is the base with W += Σ wᵢ·sᵢ·Bᵢ·Aᵢ.
    let item = try MixtureCase("llama/given")
    let weights = (item.gate["weights"]?.array ?? []).map {
      Selection.WeightedExpert($0["expert"]?.string ?? "", $0["weight"]?.double ?? .nan)
    }
    #expect(weights.contains { $0.weight < 0 })
    let fixture = try RuntimeFixture()
    let logits = try model(item.bundle(fixture), .weights(weights))
      .logits(item.expected().integers("input_ids"))
    #expect(try deviation(logits, from: item) <= 2e-5)
  }
}

extension Model {
  /// Whether an expert adapts what a place stands for.
  fileprivate func acts(_ expert: String, at place: String) -> Bool {
    guard let record = try? ExpertRecord(expert, in: base.bundle, base: base.description) else {
      return false
    }
    return place == "global"
      || record.modules.keys.contains { $0.text == place || $0.text.hasPrefix(place + ".") }
  }
}
