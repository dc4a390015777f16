import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

@testable import LMoERuntime

import class LMoEFormat.Bundle

/// Single tokens by themselves: the numbers of a pass of one row.
@Suite struct DecoderTests {
  private static let alone = WorkerPool(count: 1)
  /// Of one worker and of three, beside the fixture's of two.
  private static let pools = [alone, WorkerPool(count: 3)]

  private func model(
    _ bundle: Bundle, _ selection: Selection = .base, on pool: WorkerPool = RuntimeFixture.pool,
    usesDecoder: Bool = true
  ) throws -> Model {
    let model = try Model(LoadedBase(bundle, on: pool), selection: selection)
    model.usesDecoder = usesDecoder
    return model
  }

  private func ones(_ tokens: [Int]) -> [Int] { Array(repeating: 1, count: tokens.count) }

  private func numbers(_ count: Int, below vocabulary: Int) -> [Int] {
    (0..<count).map { ($0 * 37 + 11) % vocabulary }
  }

  // MARK: Against double precision

  @Test(arguments: MixtureTests.cases) func `mixtures, token by token`(item: MixtureCase) throws {
    let fixture = try RuntimeFixture()
    let bundle = try item.bundle(fixture)
    let expected = try item.expected()
    let tokens = try expected.integers("input_ids")
    let positions = try expected.integers("positions")
    let values = try expected.floats("logits")
    let vocabulary = values.count / positions.count
    let decoding = try model(bundle, .gate("g"))
    let found = try decoding.logits(tokens, steps: ones(tokens))
    #expect(decoding.decoder != nil)
    let rows = positions.indices.map { Array(values[$0 * vocabulary..<($0 + 1) * vocabulary]) }
    #expect(deviation(positions.map { found[$0] }, rows) <= 2e-5)
    // The order of workers does not matter, nor how many there are.
    for pool in Self.pools {
      let other = try model(bundle, .gate("g"), on: pool)
      #expect(try other.logits(tokens, steps: ones(tokens)) == found)
    }
  }

  // MARK: Against passes of one row

  @Test(arguments: CacheTests.families, [KVCache.Precision.f32, .f16])
  func `families, bit for bit`(family: String, precision: KVCache.Precision) throws {
    let fixture = try RuntimeFixture()
    let bundle = try fixture.bundle(base: "families/" + family)
    let decoding = try model(bundle)
    let tokens = numbers(60, below: decoding.configuration.vocabularySize)
    let wanted = try model(bundle, usesDecoder: false).logits(tokens, steps: ones(tokens), cache: precision)
    #expect(try decoding.logits(tokens, steps: ones(tokens), cache: precision) == wanted)
    #expect(decoding.decoder != nil)
  }

  @Test(arguments: ["llama", "mistral"], [KVCache.Precision.f32, .f16])
  func `many positions, in parts or in a window`(family: String, precision: KVCache.Precision) throws {
    let fixture = try RuntimeFixture()
    let bundle = try fixture.bundle(base: "families/" + family)
    let (decoding, passes) = (try model(bundle), try model(bundle, usesDecoder: false))
    let tokens = numbers(900, below: decoding.configuration.vocabularySize)
    // Steps of one where a part of positions ends, and later.
    let steps = [200] + Array(repeating: 1, count: 120) + [190] + Array(repeating: 1, count: 390)
    let found = try decoding.logits(tokens, steps: steps, cache: precision)
    // Of f16 a key half-way between two numbers may become the other one, and all later tokens look at it.
    if precision == .f32 {
      #expect(deviation(found, try passes.logits(tokens, steps: steps, cache: precision)) <= 1e-5)
    }
    // Hence also each token by itself, after the same keys and values.
    let cache = passes.makeCache(precision, capacity: 4)
    var (rows, wanted): ([[Float]], [[Float]]) = ([], [])
    var start = 0
    for step in steps {
      let segment = Model.Segment(Array(tokens[start..<start + step]), cache)
      if step == 1 {
        try decoding.forward([segment], wanting: .all) { rows.append($0.logits.array) }
        cache.truncate(to: start)
      }
      try passes.forward([segment], wanting: .all) { if step == 1 { wanted.append($0.logits.array) } }
      start += step
    }
    #expect(rows.count == 510)
    #expect(deviation(rows, wanted) <= 5e-6)
    let other = try model(bundle, on: Self.alone)
    #expect(try other.logits(tokens, steps: steps, cache: precision) == found)
  }

  /// Up to 256 positions attention's tasks make U of o_proj; beyond, a stage of its own does.
  @Test(arguments: [nil, QuantizedType.q8_0])
  func `experts over many positions`(type: QuantizedType?) throws {
    let fixture = try RuntimeFixture()
    let names = ["arithmetic", "verse", "json"]
    let plain = try fixture.bundle(
      base: "embedded/base", experts: names.map { ($0, "embedded/" + $0) }, codec: .raw)
    let bundle = try type.map { try fixture.quantized(plain, base: $0, experts: $0) } ?? plain
    let tokens = numbers(266, below: try model(bundle).configuration.vocabularySize)
    let steps = [246] + Array(repeating: 1, count: 20)
    let wanted = try model(bundle, .uniform, usesDecoder: false).logits(tokens, steps: steps)
    let found = try model(bundle, .uniform).logits(tokens, steps: steps)
    #expect(deviation(found, wanted) <= (type == nil ? 1e-5 : 5e-4))
    for pool in Self.pools {
      let other = try model(bundle, .uniform, on: pool)
      // Passes of many rows are shared out among workers, too.
      #expect(try other.logits(tokens, steps: steps) == found)
    }
  }

  /// Gates of more than 16,384 elements are a stage's, which makes W x with them; where magnitudes rescale that, it is
  /// kept apart from what it is added to.
  @Test(arguments: [Gate.Scope.layer, .module], ["plain", "blocks", "magnitudes"])
  func `many experts of which few have a say`(scope: Gate.Scope, kind: String) throws {
    let fixture = try RuntimeFixture()
    let isSmall = kind == "magnitudes"
    let names =
      isSmall
      ? ["all-linear", "dora", "second", "dora-rslora"].map { "variants/llama/" + $0 }
      : ["arithmetic", "json", "sql", "verse"].map { "embedded/" + $0 }
    // Of inputs of 32 and 128.
    let count = isSmall ? 520 : 132
    let plain = try fixture.bundle(
      base: isSmall ? "families/llama" : "embedded/base",
      experts: (0..<count).map { ("e\($0)", names[$0 % names.count]) }, codec: .raw)
    let bundle = kind == "blocks" ? try fixture.quantized(plain, base: .q4_0, experts: .q8_0) : plain
    let gate = try NewGate.random(
      in: bundle, scope: scope, normaliser: .topKRenormalised(3), seed: 5, deviation: 1)
    try compare(bundle, behind: gate, tokens: 24, within: kind == "blocks" ? 5e-4 : 1e-5)
  }

  /// Adds a gate, and compares token after token with passes of one row, and on other numbers of workers.
  private func compare(_ bundle: Bundle, behind gate: NewGate, tokens count: Int, within limit: Double) throws
  {
    let writer = try BundleWriter(appendingTo: bundle.path)
    try writer.addGate(gate, named: "g")
    try writer.commit(note: "test")
    let gated = try Bundle(path: bundle.path)
    let decoding = try model(gated, .gate("g"))
    let tokens = numbers(count, below: decoding.configuration.vocabularySize)
    let wanted = try model(gated, .gate("g"), usesDecoder: false).logits(tokens, steps: ones(tokens))
    let found = try decoding.logits(tokens, steps: ones(tokens))
    #expect(decoding.decoder != nil)
    #expect(deviation(found, wanted) <= limit)
    for pool in Self.pools {
      #expect(try model(gated, .gate("g"), on: pool).logits(tokens, steps: ones(tokens)) == found)
    }
  }

  @Test(arguments: [QuantizedType.q8_0, .q4_0, .i8, .i4Group32, .nf4])
  func `blocks, and experts of blocks`(type: QuantizedType) throws {
    let fixture = try RuntimeFixture()
    let names = ["arithmetic", "verse", "json"]
    let bundle = try fixture.quantized(
      fixture.bundle(base: "embedded/base", experts: names.map { ($0, "embedded/" + $0) }, codec: .raw),
      base: type, experts: type == .nf4 ? .q8_0 : type)
    let tokens = Array(try Reference("embedded/logits.safetensors").integers("input_ids.verse").prefix(60))
    for selection in [
      Selection.uniform, .expert("json"), .weights([.init("verse", -0.5), .init("json", 1)]),
    ] {
      let wanted = try model(bundle, selection, usesDecoder: false).logits(tokens, steps: ones(tokens))
      let found = try model(bundle, selection).logits(tokens, steps: ones(tokens))
      // Both have fifteen bits of x where there are integers, but not of the same numbers.
      #expect(deviation(found, wanted) <= 5e-4, "\(selection)")
      for pool in Self.pools {
        let other = try model(bundle, selection, on: pool)
        #expect(try other.logits(tokens, steps: ones(tokens)) == found)
      }
    }
  }

  /// The ranks of experts that weigh nothing lie before, between and behind those of the others.
  @Test(arguments: [nil, QuantizedType.q8_0])
  func `strips of which only some ranks have a say`(type: QuantizedType?) throws {
    let fixture = try RuntimeFixture()
    let names = ["rank-1", "all-linear", "rank-1", "second", "bf16"]
    let plain = try fixture.bundle(
      base: "families/llama", experts: names.enumerated().map { ("e\($0)", "variants/llama/" + $1) },
      codec: .raw)
    let bundle = try type.map { try fixture.quantized(plain, experts: $0) } ?? plain
    let weights = zip(bundle.banks(ofKind: "expert"), [0, 1.5, 0, -0.5, 0])
      .map { Gate.Weight(expert: $0.id, value: $1) }
    try compare(
      bundle, behind: .constant(weights, scope: .layer), tokens: 60, within: type == nil ? 1e-5 : 5e-4)
  }

  /// Heads of 16: a task's columns of o_proj begin and end within a block.
  @Test func `blocks of which heads are parts`() throws {
    let fixture = try RuntimeFixture()
    let experts = [("x", "variants/llama/all-linear"), ("y", "variants/llama/bf16")]
    let bundle = try fixture.quantized(
      fixture.bundle(base: "families/llama", experts: experts, codec: .raw), experts: .q8_0)
    let blocks = try bundle.banks(ofKind: "expert").flatMap { try bundle.manifest(of: $0).tensors }
      .filter { $0.type.geometry != nil && $0.name.contains("o_proj") }
    #expect(blocks.count == 2 * 2 * 2)
    let decoding = try model(bundle, .uniform)
    let tokens = numbers(30, below: decoding.configuration.vocabularySize)
    let wanted = try model(bundle, .uniform, usesDecoder: false).logits(tokens, steps: ones(tokens))
    let found = try decoding.logits(tokens, steps: ones(tokens))
    #expect(deviation(found, wanted) <= 1e-4)
    #expect(decoding.decoder != nil)
    for pool in Self.pools {
      #expect(try model(bundle, .uniform, on: pool).logits(tokens, steps: ones(tokens)) == found)
    }
  }

  @Test(arguments: Kernels.variants) func `every set of kernels`(variant: String) throws {
    let fixture = try RuntimeFixture()
    let names = ["arithmetic", "verse"]
    let plain = try fixture.bundle(
      base: "embedded/base", experts: names.map { ($0, "embedded/" + $0) }, codec: .raw)
    let tokens = Array(try Reference("embedded/logits.safetensors").integers("input_ids.verse").prefix(40))
    for bundle in [plain, try fixture.quantized(plain, base: .q4_0, experts: .q8_0)] {
      let wanted = try model(bundle, .uniform, usesDecoder: false).logits(tokens)
      let found = try Kernels.with(variant) {
        try model(bundle, .uniform, on: Self.alone).logits(tokens, steps: ones(tokens))
      }
      #expect(deviation(found, wanted) <= 1e-3)
    }
  }

  // MARK: What it must not do

  @Test func `what replaces rows goes the general way`() throws {
    let fixture = try RuntimeFixture()
    let variants = RuntimeFixture.directories(in: "variants/llama")
    for name in variants {
      let bundle = try fixture.bundle(base: "families/llama", experts: [("x", "variants/llama/" + name)])
      let decoding = try model(bundle, .expert("x"))
      let tokens = numbers(20, below: decoding.configuration.vocabularySize)
      let wanted = try model(bundle, .expert("x"), usesDecoder: false).logits(tokens, steps: ones(tokens))
      #expect(deviation(try decoding.logits(tokens, steps: ones(tokens)), wanted) <= 1e-6, "\(name)")
    }
  }
}

/// Gates: which experts they choose.
@Suite struct GateKernelTests {
  @Test(arguments: [1, 2, 3, 7, 16, 64, 256]) func `the largest scores, and of equal ones the first`(
    count: Int
  ) {
    var numbers = Numbers(count)
    for k in [1, 2, 3, count / 2, count, count + 5] where k > 0 {
      for isRaw in [false, true] {
        // Few different scores: many are equal.
        let scores = (0..<count).map { _ in Float(numbers.integer(0...max(1, count / 4))) }
        let kernel = GateKernel(
          .constant, isRaw ? .topKRaw(k) : .topKRenormalised(k), temperature: 1, rows: nil,
          terms: .vector(scores), routed: Array(0..<count), always: [], width: count)
        let (products, weights) = (OwnedRows(1, 2 * count), OwnedRows(1, count))
        kernel.weigh(products.rows, OwnedRows(1, 1).rows, into: weights.rows)
        let order = scores.indices.sorted {
          scores[$0] > scores[$1] || (scores[$0] == scores[$1] && $0 < $1)
        }
        let chosen = Set(order.prefix(k))
        let sum = (isRaw ? Array(scores.indices) : Array(chosen)).reduce(0.0) { $0 + exp(Double(scores[$1])) }
        for index in scores.indices {
          let wanted = chosen.contains(index) ? exp(Double(scores[index])) / sum : 0
          #expect(abs(Double(weights.rows[0, index]) - wanted) <= 1e-6)
        }
      }
    }
  }
}
