import Foundation
import LMoECore
import LMoEFormat
import Testing

@testable import LMoEExperts

/// Merged deltas against PEFT's and mergekit's functions, and the formulas in float64 (fixtures/making/merges.py).
@Suite struct MergeFixtureTests {
  /// One line of the index.
  struct Case: Sendable, CustomTestStringConvertible {
    let json: JSON
    var testDescription: String {
      "\(json["key"]?.string ?? "?") \(json["options"]?["method"]?.string ?? "")"
    }

    var method: MergeMethod {
      let options = json["options"]
      var result = MergeMethod(options?["method"]?.string.flatMap(MergeMethod.Kind.init) ?? .linear)
      if let flavor = options?["flavor"]?.string.flatMap(MergeMethod.Flavor.init) { result.flavor = flavor }
      if let density = options?["density"]?.double { result.density = density }
      if let lambda = options?["lambda"]?.double { result.lambda = lambda }
      if let gamma = options?["gamma"]?.double { result.gamma = gamma }
      result.t = options?["t"]?.double
      return result
    }
  }

  static let index = (try? Fixture.json("merges/index.json")) ?? .null
  static let cases = (index["cases"]?.array ?? []).map(Case.init)

  /// The delta of a merged module, by rows.
  static func dense(_ module: MergedModule) -> [Double] {
    let product = module.product
    var result = [Double](repeating: 0, count: product.rows * product.columns)
    for row in 0..<product.rows {
      for rank in 0..<product.rank {
        let b = Double(product.b[row * product.rank + rank])
        for column in 0..<product.columns {
          result[row * product.columns + column] += b * Double(product.a[rank * product.columns + column])
        }
      }
    }
    return result
  }

  static func distance(_ found: [Double], _ expected: [Double]) -> Double {
    let norm = expected.reduce(0) { $0 + $1 * $1 }
    return (zip(found, expected).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / norm).squareRoot()
  }

  @Test func `there are cases`() { #expect(Self.cases.count > 35) }

  @Test(arguments: cases) func merged(_ item: Case) throws {
    let file = try SafetensorsFile(path: Fixture.path("merges/merged.safetensors"))
    let experts = try #require(item.json["experts"]?.object?.members)
    let base = try BaseWeights(try HFCheckpoint(path: Fixture.path("tiny-llama")))
    let inputs = try experts.map {
      try MergeInput(try PEFTAdapter(path: Fixture.path("adapters/" + $0.key)), on: base.description)
    }
    let expected = try FileTensors(file).floats([try #require(item.json["key"]?.string)], on: .shared)[0]
    let rank = item.json["options"]?["rank"]?.int
    // At full rank nothing is lost of what is chosen entry by entry.
    let choice: RankChoice = item.method.kind == .cat ? .natural : .rank(rank ?? 64)
    let merge = try Merge(
      inputs, weights: experts.map { $0.value.double ?? 0 }, by: item.method, rank: choice, base: base)
    let merged = try merge.run(on: WorkerPool(count: 2))
    let name = try #require(item.json["module"]?.string)
    let module = try #require(merged.modules.first { $0.name == name })
    let distance = Self.distance(Self.dense(module), expected.map(Double.init))
    #expect(distance < 1e-6, "\(distance)")
    // What it says is lost is lost.
    if rank == nil { #expect(module.error < 1e-5, "\(module.error)") }
    if let rank {
      let whole = try Merge(inputs, weights: experts.map { $0.value.double ?? 0 }, by: MergeMethod(.linear))
        .run(on: WorkerPool(count: 2))
      let full = Self.dense(try #require(whole.modules.first { $0.name == name }))
      #expect(abs(Self.distance(Self.dense(module), full) - module.error) < 1e-6)
      #expect(module.product.rank == rank && module.error > 0.01)
    }
  }

  /// PEFT 0.21 gets these wrong, which is why the formulas are the fixtures.
  @Test func `where the reference errs`() throws {
    let errors = try #require(Self.index["peft_errors"])
    for (name, least) in [
      ("verse cat", 1.0), ("verse svd", 1.0), ("dora svd", 0.5), ("code+biased linear", 0.1),
    ] {
      #expect(try #require(errors[name]?.double) > least, "\(name)")
    }
  }

  /// `merge_and_unload` on a bf16 base, bit for bit.
  @Test func `PEFT's rounding`() throws {
    let scratch = try Scratch()
    let base = try BaseWeights(try HFCheckpoint(path: Fixture.path("tiny-llama")))
    let inputs = try ["math", "code"].map {
      try MergeInput(try PEFTAdapter(path: Fixture.path("adapters/" + $0)), on: base.description)
    }
    let expected = try SafetensorsFile(path: Fixture.path("merges/merged.safetensors"))
    var rounded: [Int] = []
    for rounding in [BaseMerge.Rounding.peft, .exact] {
      let merge = try Merge(inputs, weights: [1, 1], by: MergeMethod(.linear), base: base, isIntoBase: true)
      let target = scratch.path(rounding.rawValue)
      try BaseMerge(merge, base: base, rounding: rounding).write(to: target, on: WorkerPool(count: 2))
      let found = try SafetensorsFile(path: target + "/model.safetensors")
      var different = 0
      for tensor in expected.tensors where tensor.name.hasPrefix("peft/") {
        let name = tensor.name.dropFirst(5) + ".weight"
        let own = try #require(found.tensors.first { $0.name == name })
        #expect(own.type == tensor.type)
        let (a, b) = (try bytes(tensor, in: expected), try bytes(own, in: found))
        for place in stride(from: 0, to: a.count, by: 2) where a[place..<place + 2] != b[place..<place + 2] {
          different += 1
        }
      }
      rounded.append(different)
    }
    #expect(rounded[0] == 0 && rounded[1] > 10, "\(rounded)")
  }

  private func bytes(_ tensor: SafetensorsTensor, in file: SafetensorsFile) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: tensor.type.rawBytes)
    try bytes.withUnsafeMutableBytes { try file.source(of: tensor).read(into: $0, at: 0) }
    return bytes
  }
}
