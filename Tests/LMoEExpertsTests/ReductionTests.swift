import Foundation
import LMoECore
import LMoEFormat
import Testing

import class LMoEFormat.Bundle
@testable import LMoEExperts

/// Which experts leave, how alike they are, and what gates make of it.
@Suite struct ReductionTests {
  private func id(_ number: Int) -> Bits128 { Bits128(high: 9, low: UInt64(number)) }

  private func candidates(
    _ values: [Double], uses: [Double]? = nil, always: Set<Int> = []
  ) -> [ExpertReduction.Candidate] {
    values.enumerated().map { index, value in
      ExpertReduction.Candidate(
        id: id(index + 1), name: "e\(index)", stays: always.contains(index), use: uses?[index], value: value)
    }
  }

  @Test func `the lowest leave`() throws {
    let values = [0.3, -0.1, 0.2, 0.2, 0.05]
    #expect(try ExpertReduction(candidates(values), keeping: 4, path: "").leaving == [1])
    #expect(try ExpertReduction(candidates(values), keeping: 2, path: "").leaving == [1, 4, 3])
    #expect(try ExpertReduction(candidates(values, always: [1]), keeping: 3, path: "").leaving == [4, 3])
  }

  @Test(arguments: [0, 3, 4]) func `numbers that cannot be left`(count: Int) {
    #expect(throws: ExpertError.self) {
      try ExpertReduction(candidates([1, 2, 3]), keeping: count, path: "")
    }
  }

  @Test func `more are always on than are to be left`() {
    let error = #expect(throws: ExpertError.self) {
      try ExpertReduction(candidates([1, 2, 3], always: [0, 1]), keeping: 1, path: "b.lmoe")
    }
    #expect(error?.description.contains("always on") == true)
  }

  private let similarity = ExpertSimilarity(
    cosines: [[1, 0.9, 0.1, 0], [0.9, 1, 0.2, 0], [0.1, 0.2, 1, 0.8], [0, 0, 0.8, 1]], norms: [1, 2, 3, 4])

  @Test func `of two that are alike one leaves`() throws {
    func leaving(_ count: Int, _ uses: [Double]?, always: Set<Int> = []) throws -> [Int] {
      try ExpertReduction(
        candidates([0, 0, 0, 0], uses: uses, always: always), keeping: count, similarity: similarity,
        merging: false, path: ""
      ).leaving
    }
    // The smaller; the less used where that is known; never one that is always on.
    #expect(try leaving(3, nil) == [0])
    #expect(try leaving(3, [0.4, 0.3, 0.2, 0.1]) == [1])
    #expect(try leaving(2, [0.4, 0.3, 0.2, 0.1]) == [1, 3])
    #expect(try leaving(3, nil, always: [0]) == [1])
    #expect(try leaving(3, nil, always: [0, 1]) == [2])
  }

  @Test func `those that are alike become one`() throws {
    func clusters(_ count: Int, _ uses: [Double]?, always: Set<Int> = []) throws -> [ExpertReduction.Cluster]
    {
      let reduction = try ExpertReduction(
        candidates([0, 0, 0, 0], uses: uses, always: always), keeping: count, similarity: similarity,
        merging: true, path: "")
      #expect(reduction.leaving == [])
      return reduction.clusters
    }
    #expect(try clusters(3, nil) == [.init(members: [0, 1], weights: [0.5, 0.5])])
    #expect(try clusters(3, [0.3, 0.1, 0.4, 0.2])[0].weights.map { ($0 * 100).rounded() } == [75, 25])
    #expect(try clusters(2, nil).map(\.members) == [[0, 1], [2, 3]])
    #expect(try clusters(1, nil).map(\.members) == [[0, 1, 2, 3]])
    #expect(try clusters(3, nil, always: [0]).map(\.members) == [[2, 3]])
  }

  @Test func `cosines are those of deltas that are written out`() throws {
    let names = ["math", "code", "dora", "verse"]
    let base = try BaseWeights(try HFCheckpoint(path: Fixture.path("tiny-llama")))
    // One that is like another in part.
    let scratch = try Scratch()
    let math = try PEFTAdapter(path: Fixture.path("adapters/math"))
    try WeightPruning(try MergeInput(math), to: .rank(4)).run(on: WorkerPool(count: 2))
      .write(of: math, to: scratch.path("small"))
    let inputs = try (names.map { Fixture.path("adapters/" + $0) } + [scratch.path("small")]).map {
      try MergeInput(try PEFTAdapter(path: $0), on: base.description)
    }
    let found = try ExpertSimilarity(inputs, base: base, on: WorkerPool(count: 2))
    // What one adapter alone adds, entry by entry: a merge of it with weight 1 at full rank.
    let dense = try inputs.map { input in
      let merged = try Merge([input], weights: [1], by: MergeMethod(.linear), rank: .rank(64), base: base)
        .run(on: WorkerPool(count: 2))
      return Dictionary(uniqueKeysWithValues: merged.modules.map { ($0.name, MergeFixtureTests.dense($0)) })
    }
    func product(_ one: [String: [Double]], _ other: [String: [Double]]) -> Double {
      one.reduce(0) { sum, item in
        sum + (other[item.key].map { zip(item.value, $0).reduce(0) { $0 + $1.0 * $1.1 } } ?? 0)
      }
    }
    for (row, one) in dense.enumerated() {
      let length = product(one, one).squareRoot()
      #expect(abs(found.norms[row] - length) < 1e-5 * length)
      for (column, other) in dense.enumerated() {
        let cosine = product(one, other) / (length * product(other, other).squareRoot())
        #expect(abs(found.cosines[row][column] - cosine) < 1e-5, "\(row) \(column)")
      }
    }
    #expect(found.cosines.joined().contains { $0 > 0.5 && $0 < 0.99 })
    #expect(
      found.nearest(to: 0)?.cosine
        == found.cosines[0].enumerated().filter { $0.offset != 0 }.map(\.element).max())
    #expect(throws: ExpertError.self) { try ExpertSimilarity(inputs) }
  }

  // MARK: Gates

  /// Four experts; the first two become one with the given share, the third leaves.
  private func reduced(_ gate: JSON, rows: (([Bits128]) throws -> [NewEntry]) = { _ in [] }) throws -> (
    StoredGate, new: Bits128, old: [Bits128]
  ) {
    let scratch = try Scratch()
    let names = ["math", "code", "verse"]
    let bundle = try scratch.bundle(experts: names.map { Fixture.path("adapters/" + $0) })
    let ids = try names.map { try bundle.bank("expert/" + $0).id }
    let writer = try BundleWriter(appendingTo: bundle.path)
    let named = String(decoding: Array(gate.serialized().utf8), as: UTF8.self)
      .replacing("MATH", with: ids[0].description).replacing("CODE", with: ids[1].description)
      .replacing("VERSE", with: ids[2].description)
    try writer.addBank("gate/g", card: try JSON(parsing: Array(named.utf8)), entries: try rows(ids))
    try writer.commit(note: "test")
    let before = try Bundle(path: bundle.path)
    let reduction = try ExpertReduction(
      [
        ExpertReduction.Candidate(id: ids[0], name: "math", use: 0.6),
        ExpertReduction.Candidate(id: ids[1], name: "code", use: 0.2),
        ExpertReduction.Candidate(id: ids[2], name: "verse", use: 0.2),
      ], keeping: 2,
      similarity: ExpertSimilarity(
        cosines: [[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]], norms: [1, 1, 1]), merging: true, path: "")
    let merged = try reduction.merged(in: before, on: WorkerPool(count: 2))
    #expect(merged.map(\.name) == ["math+code"] && merged[0].expert.ranks.upperBound == 8)
    let change = try BundleWriter(appendingTo: bundle.path)
    _ = try change.reduce(reduction, merged: merged, of: before)
    try change.commit(note: "test")
    let after = try Bundle(path: bundle.path)
    #expect(try after.verify(decoding: true) == [])
    #expect(after.banks(ofKind: "expert").map(\.shortName).sorted() == ["math+code", "verse"])
    return (try after.gate(named: "g"), try after.bank("expert/math+code").id, ids)
  }

  private func constant(_ weights: JSON, _ normaliser: JSON = "softmax", members: JSON = "all") -> JSON {
    [
      "card": 1, "kind": "gate", "score": "constant", "input": "none", "scope": "global",
      "normaliser": normaliser, "temperature": .double(0.5), "weights": weights, "members": members,
    ]
  }

  private func weights(_ gate: StoredGate) -> [Bits128: Double] {
    Dictionary(uniqueKeysWithValues: gate.gate.givenWeights.map { ($0.expert, $0.value) })
  }

  @Test func `a uniform gate keeps the share of both`() throws {
    let (gate, new, old) = try reduced(constant("uniform"))
    // exp(z/τ) is 2 to 1: two thirds and one third, as before.
    let found = weights(gate)
    #expect(Set(found.keys) == [new, old[2]])
    #expect(abs(exp((try #require(found[new]) - (try #require(found[old[2]]))) / 0.5) - 2) < 1e-9)
  }

  @Test func `given weights keep the share of both`() throws {
    let list: JSON = [
      ["expert": "MATH", "weight": .double(0.3)], ["expert": "CODE", "weight": .double(-0.2)],
      ["expert": "VERSE", "weight": .double(0.1)],
    ]
    let (soft, new, old) = try reduced(constant(list))
    let found = weights(soft)
    #expect(Set(found.keys) == [new, old[2]] && found[old[2]] == 0.1)
    let share = exp(try #require(found[new]) / 0.5)
    #expect(abs(share - exp(0.6) - exp(-0.4)) < 1e-9)
    let (plain, other, _) = try reduced(constant(list, "none"))
    #expect(abs(try #require(weights(plain)[other]) - 0.1) < 1e-12)
  }

  @Test func `members that are listed`() throws {
    let list: JSON = [
      ["expert": .string(Gate.nullExpert.description), "role": "routed"],
      ["expert": "MATH", "role": "routed"],
      ["expert": "CODE", "role": "routed"], ["expert": "VERSE", "role": "always"],
    ]
    let (gate, new, old) = try reduced(constant("uniform", members: list))
    let found = weights(gate)
    // The null expert counts as one, who is always on has no share.
    #expect(Set(found.keys) == [new, Gate.nullExpert])
    #expect(abs(exp((try #require(found[new]) - (try #require(found[Gate.nullExpert]))) / 0.5) - 2) < 1e-9)
    let roles = GateRoles(gate.gate)
    #expect(
      roles.role(of: old[2]) == .always && roles.role(of: new) == .routed && roles.role(of: old[0]) == nil)
  }

  @Test func `rows of a linear gate`() throws {
    let card: JSON = [
      "card": 1, "kind": "gate", "score": "linear", "input": "embedding", "scope": "global",
      "normaliser": "softmax", "temperature": 2,
    ]
    let hidden = 64
    let (gate, new, old) = try reduced(card) { ids in
      try ids.enumerated().map { index, id in
        try gateRow("\(id)/global", [Float](repeating: Float(index + 1), count: hidden) + [Float(10 * index)])
      }
    }
    let rows = try gate.rows()
    let own = try #require(rows[ByteKey("global")])
    #expect(Set(own.keys) == [new, old[2]])
    // π = (0.75, 0.25): the mean of the rows, and τ·H(π) more in the bias.
    let row = try #require(own[new])
    let entropy = -(0.75 * log(0.75) + 0.25 * log(0.25))
    #expect(row[..<hidden].allSatisfy { abs($0 - 1.25) < 1e-6 })
    #expect(abs(Double(row[hidden]) - 2.5 - 2 * entropy) < 1e-5)
  }
}
