import Foundation
import LMoECore
import LMoEFormat
import Testing

@testable import LMoEExperts

/// What has to hold whatever the numbers are.
@Suite struct MergeIdentityTests {
  private func inputs(_ names: String...) throws -> [MergeInput] {
    try names.map { try MergeInput(try PEFTAdapter(path: Fixture.path("adapters/" + $0))) }
  }

  private func run(
    _ inputs: [MergeInput], _ weights: [Double]?, _ method: MergeMethod, _ rank: RankChoice = .natural
  ) throws -> [String: [Double]] {
    let merged = try Merge(inputs, weights: weights, by: method, rank: rank).run(on: WorkerPool(count: 2))
    return Dictionary(uniqueKeysWithValues: merged.modules.map { ($0.name, MergeFixtureTests.dense($0)) })
  }

  private func expectEqual(
    _ found: [String: [Double]], _ expected: [String: [Double]], _ bound: Double = 1e-6
  ) {
    #expect(Set(found.keys) == Set(expected.keys))
    for (name, values) in expected {
      let distance = MergeFixtureTests.distance(found[name] ?? [], values)
      #expect(found[name]?.count == values.count && distance < bound, "\(name): \(distance)")
    }
  }

  /// The delta as its files have it.
  private func delta(_ name: String) throws -> [String: [Double]] {
    let adapter = try PEFTAdapter(path: Fixture.path("adapters/" + name))
    let tensors = FileTensors(adapter.file)
    return Dictionary(
      uniqueKeysWithValues: try adapter.modules.map { module in
        let values = try tensors.floats([module.a.name, module.b.name], on: .shared)
        let product = LowRankProduct(rank: module.rank, a: values[0], b: values[1])
        let merged = MergedModule(plain: module.name, product)
        return (module.name, MergeFixtureTests.dense(merged).map { $0 * module.scaling })
      })
  }

  @Test(arguments: MergeMethod.Kind.allCases.filter { $0 != .slerp })
  func `one expert at weight 1 is itself`(_ kind: MergeMethod.Kind) throws {
    var method = MergeMethod(kind)
    if method.usesDensity { method.density = 1 }
    for name in ["math", "verse"] {
      expectEqual(try run(try inputs(name), [1], method), try delta(name))
    }
  }

  @Test(arguments: [0.0, 1.0]) func `slerp ends where it begins`(_ t: Double) throws {
    var method = MergeMethod(.slerp)
    method.t = t
    let merged = try run(try inputs("math", "code"), nil, method, .rank(16))
    for (name, values) in try delta(t == 0 ? "math" : "code") {
      #expect(MergeFixtureTests.distance(merged[name] ?? [], values) < 1e-6)
    }
  }

  @Test(arguments: MergeMethod.Kind.allCases.filter { $0 != .slerp })
  func `the order of experts does not matter`(_ kind: MergeMethod.Kind) throws {
    let method = MergeMethod(kind)
    let rank: RankChoice = kind == .cat ? .natural : .rank(64)
    let first = try run(try inputs("math", "code", "verse"), [0.5, 0.3, 0.7], method, rank)
    expectEqual(try run(try inputs("verse", "math", "code"), [0.7, 0.5, 0.3], method, rank), first)
  }

  /// B·A = (B·R⁻¹)·(R·A): what the factors are says nothing.
  @Test(arguments: MergeMethod.Kind.allCases.filter { $0 != .slerp })
  func `factors do not matter`(_ kind: MergeMethod.Kind) throws {
    let scratch = try Scratch()
    let copy = try scratch.copy("adapters/math", as: "math")
    try editTensors(copy + "/adapter_model.safetensors") { entries in
      let file = try SafetensorsFile(path: copy + "/adapter_model.safetensors")
      let tensors = FileTensors(file)
      entries = try entries.map { entry in
        let values = try tensors.floats([entry.name], on: .shared)[0]
        let isA = entry.name.hasSuffix("lora_A.weight")
        let rank = isA ? entry.type.shape[0] : entry.type.shape[1]
        let columns = entry.type.shape[1]
        // R exchanges neighbours and scales by powers of two: exact.
        let moved = values.indices.map { index in
          let (row, column) = (index / columns, index % columns)
          let place = isA ? row : column
          let other = place ^ 1
          let factor: Float = isA ? (place.isMultiple(of: 2) ? 4 : 0.5) : (place.isMultiple(of: 2) ? 0.25 : 2)
          return factor * (isA ? values[other * columns + column] : values[row * columns + other])
        }
        #expect(rank == 8)
        return try #require(FloatTensor(entry.name, shape: entry.type.shape, values: moved).entry)
      }
    }
    let other = try MergeInput(try PEFTAdapter(path: copy))
    #expect(other.label == "math")
    let method = MergeMethod(kind)
    let rank: RankChoice = kind == .cat ? .natural : .rank(64)
    let code = try inputs("code")
    expectEqual(
      try run([other] + code, [0.6, 0.4], method, rank),
      try run(try inputs("math", "code"), [0.6, 0.4], method, rank), 2e-6)
  }

  @Test(arguments: [MergeMethod.Kind.dareLinear, .della], [MergeMethod.Flavor.paper, .mergekit])
  func `random choices even out`(_ kind: MergeMethod.Kind, _ flavor: MergeMethod.Flavor) throws {
    var method = MergeMethod(kind)
    method.density = 0.4
    method.flavor = flavor
    var random = RandomSource(seed: 3)
    let values = (0..<24 * 40).map { _ in Float(random.normal()) }
    let runs = 600
    var sums = [Double](repeating: 0, count: values.count)
    var kept = 0
    for seed in 0..<runs {
      let merged = ElementwiseRows.merging(
        [FloatRows(values, columns: 40)], weights: [1], keys: [UInt64(seed) &* 0x9E37_79B9], by: method
      ).floats
      for index in values.indices {
        sums[index] += Double(merged[index])
        if merged[index] != 0 { kept += 1 }
        // Signs stay, and an entry only becomes larger.
        #expect(merged[index] == 0 || merged[index] / values[index] > (flavor == .paper ? 0.999 : 0))
      }
    }
    #expect(abs(Double(kept) / Double(runs * values.count) - 0.4) < 0.005)
    // The largest weight of the mean's error is that of a chance of a quarter: √(3/600) of the value; five of it.
    // mergekit keeps Σ|δ|, which is not unbiased for a single entry where chances differ (della).
    guard kind == .dareLinear || flavor == .paper else { return }
    for index in values.indices {
      let mean = sums[index] / Double(runs)
      #expect(abs(mean - Double(values[index])) < 0.4 * abs(Double(values[index])) + 1e-6)
    }
    let total = zip(sums, values).reduce(0) { $0 + abs($1.0 / Double(runs) - Double($1.1)) }
    #expect(total / Double(values.count) < 0.06)
  }

  @Test func `streams are as what is in memory`() throws {
    var random = RandomSource(seed: 5)
    let matrices = (0..<3).map { _ in (0..<700 * 900).map { _ in Float(random.normal()) } }
    for kind in [MergeMethod.Kind.ties, .breadcrumbs, .dareTies, .della, .magnitude] {
      var method = MergeMethod(kind)
      method.density = 0.3
      let sources = matrices.map { FloatRows($0, columns: 900) }
      let whole = ElementwiseRows.merging(
        sources, weights: [1, 0.5, -0.3], keys: [1, 2, 3], by: method, residentBytes: .max)
      let parts = ElementwiseRows.merging(
        matrices.map { CopiedRows($0, columns: 900) }, weights: [1, 0.5, -0.3], keys: [1, 2, 3], by: method,
        residentBytes: 0)
      #expect(whole.floats == parts.floats, "\(kind)")
    }
  }

  @Test func `places among magnitudes`() {
    var random = RandomSource(seed: 8)
    let values = (0..<30_000).map { index in index % 50 == 0 ? 0 : Float(random.normal() * 1e-3) }
    let rows = FloatRows(values, columns: 100)
    let sorted = values.map(\.magnitude).sorted()
    let places = [0, 1, 599, 600, 12_345, 29_999]
    #expect(rows.magnitudes(at: places) == places.map { sorted[$0] })
  }
}

/// Rows that are copied into one place, as those are that are computed.
private final class CopiedRows: MatrixRows {
  private let values: [Float]
  private let tile: FloatBuffer
  let rows: Int
  let columns: Int

  init(_ values: [Float], columns: Int) {
    (self.values, self.columns) = (values, columns)
    rows = values.count / columns
    tile = FloatBuffer(DeltaRows.height(columns: columns, rows: rows) * columns)
  }

  func values(of range: Range<Int>) -> UnsafeMutablePointer<Float> {
    for (place, index) in (range.lowerBound * columns..<range.upperBound * columns).enumerated() {
      tile.floats[place] = values[index]
    }
    return tile.floats
  }
}
