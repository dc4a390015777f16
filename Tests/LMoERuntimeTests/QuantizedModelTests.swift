import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

@testable import LMoERuntime

import class LMoEFormat.Bundle

/// Models whose weights are blocks, against the same models with what the blocks stand for.
@Suite struct QuantizedModelTests {
  /// How far logits are off where x has fifteen bits: the largest error by the largest logit.
  static let tolerance = 2e-3
  static let types: [QuantizedType] = [.q8_0, .q4_0, .i8, .i4Group32, .nf4]
  static let names = ["arithmetic", "verse"]

  private func model(
    _ bundle: Bundle, _ selection: Selection = .base, on pool: WorkerPool = RuntimeFixture.pool
  ) throws -> Model { try Model(LoadedBase(bundle, on: pool), selection: selection) }

  /// With x as floats.
  private func exact(_ bundle: Bundle, _ selection: Selection = .base) throws -> Model {
    let base = try LoadedBase(bundle, on: RuntimeFixture.pool)
    let mixture = try Mixture(selection, of: base)
    return try Model(
      base, selection: selection, mixture: mixture,
      experts: LoadedExperts(mixture.records, in: bundle, on: base.pool), compute: Compute(pool: base.pool))
  }

  private func embedded(_ fixture: RuntimeFixture) throws -> Bundle {
    try fixture.bundle(
      base: "embedded/base", experts: Self.names.map { ($0, "embedded/" + $0) }, codec: .raw)
  }

  private func tokens(_ name: String) throws -> [Int] {
    try Reference("embedded/logits.safetensors").integers("input_ids." + name)
  }

  @Test(arguments: types) func `a base and experts of blocks`(type: QuantizedType) throws {
    let fixture = try RuntimeFixture()
    let bundle = try fixture.quantized(embedded(fixture), base: type, experts: type)
    let floats = try fixture.decoded(bundle)
    let tokens = try tokens("verse")
    for selection in [Selection.base, .expert("verse"), .uniform, .weights([.init("verse", -0.5)])] {
      let wanted = try model(floats, selection).logits(tokens)
      #expect(deviation(try exact(bundle, selection).logits(tokens), wanted) <= 2e-5)
      let found = deviation(try model(bundle, selection).logits(tokens), wanted)
      // With NF4 x stays as it is.
      #expect(found <= (type == .nf4 ? 2e-5 : Self.tolerance), "\(type) \(found)")
    }
    // Straight from the map, none of them copied.
    #expect(try LoadedBase(bundle, on: RuntimeFixture.pool).isMapped)
  }

  @Test(arguments: [QuantizedType.q8_0, .q4_0, .nf4]) func `prompts and steps`(type: QuantizedType) throws {
    let fixture = try RuntimeFixture()
    let bundle = try fixture.quantized(embedded(fixture), base: type, experts: .q8_0)
    let tokens = Array(try tokens("arithmetic").prefix(40))
    let whole = try model(bundle, .uniform).logits(tokens)
    for steps in [
      [Int](repeating: 1, count: tokens.count), [tokens.count - 10, 1, 1, 8], [3, tokens.count - 3],
    ] {
      let stepped = try model(bundle, .uniform).logits(tokens, steps: steps)
      #expect(deviation(stepped, whole) <= Self.tolerance, "\(steps)")
    }
    // The same bits with one worker.
    let alone = try model(bundle, .uniform, on: WorkerPool(count: 1))
    #expect(try alone.logits(tokens) == whole)
    let steps = [Int](repeating: 1, count: tokens.count)
    #expect(try alone.logits(tokens, steps: steps) == model(bundle, .uniform).logits(tokens, steps: steps))
  }

  /// The embedded model has 6 layers of 128 and 352, 4 heads of 32, 2 of them of keys, and 2048 tokens.
  @Test func `multiplications of a prompt, of integers and of floats`() throws {
    let fixture = try RuntimeFixture()
    let plain = try embedded(fixture)
    let products = 6 * 7 * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 352)
    let (mixing, head) = (6 * 7 * 8 * 128, 2048 * 128)
    let floats = try model(plain).multiplications(prompt: 7)
    #expect(floats.integers == 0 && floats.floats == products + mixing + head)
    let bundle = try fixture.quantized(plain, base: .q8_0, experts: .q8_0)
    let base = try model(bundle)
    let blocks = base.multiplications(prompt: 7)
    let isHead = base.head.weight.kind.hasIntegers
    #expect(blocks.integers == products + (isHead ? head : 0))
    #expect(blocks.floats == mixing + (isHead ? 0 : head))
    // Sums of A are of integers, for its blocks lie along them; those of B are not.
    let mixture = try model(bundle, .uniform)
    let factors = mixture.blocks.flatMap(\.attention.linears).compactMap(\.experts)
    #expect(!factors.isEmpty)
    let all = mixture.multiplications(prompt: 7)
    let (down, up) = (all.integers - blocks.integers, all.floats - blocks.floats)
    #expect(down > 0 && up > 0 && down + up == 7 * mixture.factorCount)
  }

  @Test func `blocks stay blocks where all experts have them`() throws {
    let fixture = try RuntimeFixture()
    let plain = try embedded(fixture)
    func stacked(_ bundle: Bundle) throws -> LinearExperts {
      let base = try LoadedBase(bundle, on: RuntimeFixture.pool)
      let mixture = try Mixture(.uniform, of: base)
      let experts = try LoadedExperts(mixture.records, in: bundle, on: base.pool)
      let name = "model.layers.0.self_attn.q_proj"
      let stacked = try experts.adapting(
        name, base.weight(name + ".weight"), overlay: nil, Compute(pool: base.pool))
      return try #require(stacked)
    }
    let all = try stacked(fixture.quantized(plain, experts: .q8_0))
    #expect(all.down.kind.isBlocks && all.up.kind.isBlocks)
    #expect(all.slots.allSatisfy { $0.factors.a.kind.isBlocks && $0.factors.b.kind.isBlocks })
    #expect(all.down.rows == all.up.rows && all.slots.count == 2)
    let one = try stacked(fixture.quantized(plain, experts: .q8_0, names: ["verse"]))
    #expect(one.down.kind == .f32 && one.up.kind == .f32)
    // NF4 knows no rows.
    let flat = try stacked(fixture.quantized(plain, experts: .nf4))
    #expect(flat.down.kind == .f32 && flat.up.kind == .f32)
    for (row, value) in one.down.floats.enumerated() where row % 97 == 0 {
      #expect(value.isFinite)
    }
  }

  /// Cases of soft mixtures: the gates see the same, DoRA too.
  @Test(
    arguments: MixtureTests.cases.filter {
      ["llama/linear-module", "llama/top-2-raw-module", "qwen2/dora-layer", "qwen3/linear-layer"].contains(
        $0.name)
    })
  func `mixtures of quantized experts`(item: MixtureCase) throws {
    let fixture = try RuntimeFixture()
    let bundle = try fixture.quantized(item.bundle(fixture), base: .q8_0, experts: .q8_0)
    let floats = try fixture.decoded(bundle)
    let tokens = try item.expected().integers("input_ids")
    let wanted = try model(floats, .gate("g")).logits(tokens)
    #expect(deviation(try exact(bundle, .gate("g")).logits(tokens), wanted) <= 2e-5)
    let found = deviation(try model(bundle, .gate("g")).logits(tokens), wanted)
    #expect(found <= Self.tolerance, "\(found)")
  }

  @Test func `weight 0 changes nothing`() throws {
    let fixture = try RuntimeFixture()
    let bundle = try fixture.quantized(embedded(fixture), base: .q8_0, experts: .q8_0)
    let tokens = Array(try tokens("verse").prefix(5))
    let alone = try model(bundle, .weights([.init("verse", 0.7)])).logits(tokens)
    let both = try model(bundle, .weights([.init("verse", 0.7), .init("arithmetic", 0)])).logits(tokens)
    #expect(both == alone)
  }

  @Test func `training on a quantized base and with a quantized expert`() throws {
    let fixture = try RuntimeFixture()
    let sample = try #require(
      GradientCase.all.first { $0.experts.count > 1 && $0.json["language_loss"] != nil })
    let bundle = try fixture.quantized(
      sample.bundle(fixture), base: .q8_0, experts: .q8_0, names: [sample.experts[0].name])
    let floats = try fixture.decoded(bundle)
    func run(_ bundle: Bundle) throws -> (nats: Double, gradients: [[Float]]) {
      let plan = TrainingPlan(
        .gate("g"), trainsGate: true, experts: sample.experts.dropFirst().map(\.name))
      let model = try TrainingModel(plan, on: LoadedBase(bundle, on: RuntimeFixture.pool))
      let documents = sample.documents(columns: model.model.gateColumns)
      var settings = sample.settings(documents)
      settings.labelled = model.labelled(documents)
      return (model.run(documents, settings).nats, model.allGradients)
    }
    let (found, wanted) = (try run(bundle), try run(floats))
    #expect(abs(found.nats - wanted.nats) <= 1e-5 * abs(wanted.nats))
    #expect(found.gradients.count == wanted.gradients.count && found.gradients.count > 2)
    #expect(deviation(found.gradients, wanted.gradients) <= 1e-4)
  }

  @Test func `an infinity in x is not lost`() throws {
    // The check for logits that are not finite needs them to be.
    let fixture = try RuntimeFixture()
    let bundle = try fixture.quantized(embedded(fixture), base: .q8_0)
    let base = try LoadedBase(bundle, on: RuntimeFixture.pool)
    let compute = Compute(pool: base.pool, usesIntegers: true)
    let weight = try base.weight("model.layers.0.mlp.up_proj.weight")
    for value in [Float.nan, .infinity] {
      let x = OwnedRows(1, weight.columns)
      let y = OwnedRows(1, weight.rows)
      x.rows.clear()
      x.rows[0, 5] = value
      compute.run([Compute.Product(terms: [.linear(x.rows, weight)], output: y.rows)])
      let all = withExtendedLifetime((x, y)) { y.rows.array(0) }
      #expect(all.allSatisfy { $0.isNaN })
    }
  }
}

extension Attention {
  fileprivate var linears: [Linear] { [query, key, value, output] }
}

extension Model {
  /// Elements of all factors of the layers.
  fileprivate var factorCount: Int {
    blocks.flatMap { $0.attention.linears + [$0.feedForward.gate, $0.feedForward.up, $0.feedForward.down] }
      .compactMap(\.experts).reduce(0) { $0 + $1.down.count + $1.up.count }
  }
}
