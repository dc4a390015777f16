import Foundation
import LMoECore
import LMoEFormat
import Testing

import class LMoEFormat.Bundle
@testable import LMoEExperts

/// Smaller ranks and fewer entries, against the singular values of deltas that are written out.
@Suite struct WeightPruningTests {
  /// s·B·A of each module by rows, as a delta of the product of factors alone.
  private func deltas(_ input: MergeInput) throws -> [String: [Double]] {
    try Dictionary(
      uniqueKeysWithValues: input.modules.values.map { module in
        let values = try input.tensors.floats([module.a, module.b], on: .shared)
        let product = LowRankProduct(rank: module.rank, a: values[0], b: values[1])
        return (
          module.name,
          MergeFixtureTests.dense(MergedModule(plain: module.name, product)).map { $0 * module.scaling }
        )
      })
  }

  private func norm(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }

  /// The singular values of a delta that is written out.
  private func singularValues(_ values: [Double], rows: Int) throws -> [Double] {
    try Matrix(values.count / rows, rows, values).singularValues().values
  }

  private func rows(_ module: MergeInput.Module) -> Int {
    module.isEmbedding ? module.columns : module.rows
  }

  private func adapter(_ name: String) throws -> PEFTAdapter {
    try PEFTAdapter(path: Fixture.path("adapters/" + name))
  }

  @Test(arguments: ["math", "code", "verse", "dora", "embed", "biased"], [1, 2, 3])
  func `a smaller rank is the best of that rank`(name: String, rank: Int) throws {
    let scratch = try Scratch()
    let adapter = try adapter(name)
    let input = try MergeInput(adapter)
    let before = try deltas(input)
    let pruned = try WeightPruning(input, to: .rank(rank)).run(on: WorkerPool(count: 2))
    #expect(pruned.isChanged && pruned.ranks.upperBound == rank)
    try pruned.write(of: adapter, to: scratch.path("out"))
    let again = try MergeInput(try PEFTAdapter(path: scratch.path("out")))
    let after = try deltas(again)
    for module in pruned.modules {
      let source = try #require(input.modules[ByteKey(module.name)])
      let stored = try #require(again.modules[ByteKey(module.name)])
      #expect(stored.rank == min(rank, source.rank) && stored.scaling == source.scaling)
      let (old, new) = (try #require(before[module.name]), try #require(after[module.name]))
      let lost = norm(zip(old, new).map { $0 - $1 })
      let values = try singularValues(old, rows: rows(source))
      let best = norm(Array(values.dropFirst(stored.rank)))
      // Nothing of that rank is nearer, and what it says is lost is lost.
      #expect(abs(lost - best) <= 1e-5 * module.norm, "\(module.name): \(lost), \(best)")
      #expect(abs(lost - module.residual) <= 1e-5 * module.norm)
      #expect(abs(module.norm - norm(old)) <= 1e-6 * module.norm)
      #expect(abs(module.newNorm - norm(new)) <= 1e-5 * module.norm)
    }
  }

  @Test(arguments: [0.3, 0.5, 0.9, 0.99, 1])
  func `the smallest rank that holds a share of the energy`(share: Double) throws {
    let input = try MergeInput(try adapter("math"))
    let before = try deltas(input)
    let pruned = try WeightPruning(input, to: .energy(share)).run(on: WorkerPool(count: 2))
    for module in pruned.modules {
      let source = try #require(input.modules[ByteKey(module.name)])
      let squares = try singularValues(try #require(before[module.name]), rows: rows(source)).map { $0 * $0 }
      let goal = share * squares.reduce(0, +)
      func held(_ rank: Int) -> Double { squares.prefix(rank).reduce(0, +) }
      #expect(module.rank == source.rank || held(module.rank) >= goal * (1 - 1e-7))
      #expect(module.rank == 1 || held(module.rank - 1) < goal, "\(module.name)")
    }
    #expect(pruned.isChanged == (share < 0.99))
  }

  @Test(arguments: [0.1, 0.5, 0.75])
  func `the largest entries stay`(density: Double) throws {
    let input = try MergeInput(try adapter("math"))
    let pruned = try WeightPruning(input, to: .entries(density: density)).run(on: WorkerPool(count: 2))
    for module in pruned.modules {
      let source = try #require(input.modules[ByteKey(module.name)])
      let values = try input.tensors.floats([source.a, source.b], on: .shared)
      let factors = try #require(module.factors)
      for (old, new) in zip(values, [factors.a, factors.b]) {
        let kept = Int(density * Double(old.count))
        let sorted = old.map(\.magnitude).sorted(by: >)
        #expect(new == old.map { $0.magnitude >= sorted[kept - 1] ? $0 : 0 })
        #expect(new.count { $0 != 0 } == kept)
      }
    }
  }

  @Test(arguments: ["classic", "rslora", "patterns", "dora", "bf16", "f16", "lora-bias", "embed"])
  func `an expert of a bundle stays who it is`(variant: String) throws {
    let scratch = try Scratch()
    let before = try scratch.bundle(
      base: Fixture.path("families/llama"), experts: [Fixture.path("variants/llama/" + variant)])
    let expert = try StoredExpert(variant, in: before)
    let input = try MergeInput(expert)
    let pruned = try WeightPruning(input, to: .rank(1)).run(on: WorkerPool(count: 2))
    let writer = try BundleWriter(appendingTo: before.path)
    try writer.prune(expert, to: pruned)
    try writer.commit(note: "test")
    let after = try Bundle(path: before.path)
    #expect(try after.verify(decoding: true) == [])
    let now = try StoredExpert(variant, in: after)
    #expect(now.bank.id == expert.bank.id)
    let groups = try #require(ModuleGroup.groups(ofCard: now.card))
    #expect(groups.allSatisfy { $0.numbers.rank == 1 })
    let old = try #require(ModuleGroup.groups(ofCard: expert.card))
    func scalings(_ groups: [ModuleGroup]) -> [String: Double] {
      Dictionary(
        uniqueKeysWithValues: groups.flatMap { group in group.targets.map { ($0, group.numbers.scaling) } })
    }
    #expect(scalings(groups) == scalings(old))
    let (found, expected) = (try deltas(MergeInput(now)), try deltas(input))
    // A type of 16 bits rounds the new factors.
    let bound = ["bf16": 1e-2, "f16": 2e-3][variant] ?? 1e-5
    for module in pruned.modules {
      let lost = norm(
        zip(try #require(expected[module.name]), try #require(found[module.name])).map { $0 - $1 })
      #expect(abs(lost - module.residual) <= bound * module.norm, "\(module.name)")
    }
    let manifest = now.manifest
    for tensor in expert.manifest.tensors {
      let other = try #require(manifest.tensor(tensor.name))
      #expect(other.type.dtype == tensor.type.dtype)
      #expect(
        tensor.name.contains("lora_A") || tensor.name.contains("lora_B") || tensor.name.contains("embedding_")
          || other.contentHash == tensor.contentHash)
    }
    #expect(now.card["pruning"]?["method"] == "ranks" && now.card["pruning"]?["rank"] == 1)
    // Out as PEFT has it, and in again: the same deltas.
    #expect(try !BundleExport(after).hasOriginals(variant))
    try BundleExport(after).writeAdapter(variant, to: scratch.path("out"))
    let base = try after.baseDescription()
    let back = try deltas(MergeInput(try PEFTAdapter(path: scratch.path("out")), on: base))
    for (name, values) in found { #expect(back[name] == values, "\(name)") }
    // A copy without the expert as it was.
    let copy = try BundleWriter(creating: scratch.path("copy.lmoe"))
    for bank in before.banks where bank.kind != "expert" {
      try copy.addBank(
        bank.name, id: bank.id, card: try before.card(of: bank), entries: try before.entriesToCopy(of: bank))
    }
    try copy.prune(expert, to: pruned)
    try copy.commit(note: "test")
    let copied = try StoredExpert(variant, in: try Bundle(path: scratch.path("copy.lmoe")))
    #expect(copied.bank.id == now.bank.id && copied.bank.contentID == now.bank.contentID)
  }

  @Test func `patterns where ranks differ`() throws {
    let scratch = try Scratch()
    let adapter = try adapter("math")
    let pruned = try WeightPruning(try MergeInput(adapter), to: .energy(0.6)).run(on: WorkerPool(count: 2))
    #expect(pruned.ranks.count > 1)
    try pruned.write(of: adapter, to: scratch.path("out"))
    let again = try PEFTAdapter(path: scratch.path("out"))
    let ranks = Dictionary(uniqueKeysWithValues: pruned.modules.map { ($0.name, $0.rank) })
    for module in again.modules { #expect(ranks[module.name] == module.rank, "\(module.name)") }
    #expect(throws: ExpertError.self) { try pruned.write(of: adapter, to: scratch.path("out")) }
  }

  @Test(arguments: [
    WeightPruning.Rule.rank(0), .rank(70_000), .energy(0), .energy(1.5), .energy(.nan), .entries(density: 0),
    .entries(density: 2),
  ])
  func `rules that make no sense`(rule: WeightPruning.Rule) throws {
    let error = #expect(throws: ExpertError.self) {
      try WeightPruning(try MergeInput(try adapter("math")), to: rule)
    }
    #expect(error?.code == .invalidPruning && error?.description.contains("cannot be pruned so") == true)
  }
}
