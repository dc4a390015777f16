import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Parts of a bundle, and what is left of its gates.
@Suite struct SubsetTests {
  @Test(arguments: CodecPolicy.allCases) func `all of a bundle`(codec: CodecPolicy) throws {
    let scratch = try Scratch()
    let bundle = try scratch.bundle(
      experts: ["math", "code"].map(Scratch.adapter), codec: codec)
    let copy = try bundle.subset(scratch.path("copy.lmoe"))
    #expect(try BundleDifference(bundle, copy).items.isEmpty)
    #expect(copy.banks.map(\.id) == bundle.banks.map(\.id) && copy.generation == 1)
    #expect(copy.banks.map(\.storedBytes) == bundle.banks.map(\.storedBytes))
    #expect(copy.banks.map(\.isRaw) == bundle.banks.map(\.isRaw))
    #expect(copy.header.fileUUID != bundle.header.fileUUID)
    #expect(try copy.history().count == 1 && copy.verify(decoding: true) == [])
  }

  @Test func `gates lose the rows of experts that stay behind`() throws {
    let scratch = try Scratch()
    let ids = ["a", "b", "c"].map { String(repeating: $0, count: 32) }
    let null = String(repeating: "0", count: 32)
    let gone = String(repeating: "d", count: 32)
    let rows = ids + [null, gone]
    let learned: JSON = [
      "kind": "gate", "score": "linear",
      "members": .array(rows.map { ["expert": .string($0), "role": "routed"] }),
      "weights": .array(rows.map { ["expert": .string($0), "weight": .double(0.5)] }),
    ]
    let uniform: JSON = ["kind": "gate", "weights": "uniform", "members": "all"]
    let writer = try BundleWriter(creating: scratch.path("full.lmoe"))
    for (name, id) in zip(["a", "b", "c"], ids) {
      try writer.addBank(
        "expert/" + name, id: Bits128(hexadecimal: id), card: ["kind": "expert"], entries: [])
    }
    let tensors = rows.flatMap { id in ["0", "1/q"].map { "\(id)/\($0)" } } + ["shared", ids[0]]
    try writer.addBank(
      "gate/learned", card: learned,
      entries: try tensors.map { try Scratch.zeros($0, [4]) }
        + [try NewEntry(document: ids[0] + "/note", bytes: [1])])
    try writer.addBank("gate/uniform", card: uniform, entries: [])
    try writer.addBank("later/thing", card: nil, entries: [try Scratch.zeros("w", [2])])
    try writer.commit(note: "test")
    let full = try Bundle(path: scratch.path("full.lmoe"))

    let all = try full.subset(scratch.path("all.lmoe"))
    #expect(try BundleDifference(full, all).items.isEmpty)
    let part = try full.subset(scratch.path("part.lmoe")) { $0.experts = ["b", "b"] }
    #expect(part.banks.map(\.name) == ["expert/b", "gate/learned", "gate/uniform", "later/thing"])
    let gate = try part.bank("gate/learned")
    #expect(try gate.id == full.bank("gate/learned").id)
    let card = try #require(try part.card(of: gate))
    let kept = [ids[1], null, gone]
    for list in ["members", "weights"] {
      #expect(card[list]?.array?.compactMap { $0["expert"]?.string } == kept, "\(list)")
    }
    #expect(card["score"] == "linear" && card["weights"]?.array?.first?["weight"] == .double(0.5))
    let manifest = try part.manifest(of: gate)
    let names = kept.flatMap { id in ["0", "1/q"].map { "\(id)/\($0)" } } + ["shared", ids[0]]
    #expect(manifest.tensors.map(\.name) == names.sorted())
    #expect(manifest.documents.map(\.name) == [ids[0] + "/note"])
    #expect(try part.card(of: part.bank("gate/uniform")) == uniform)
    #expect(try part.verify(decoding: true) == [])
    #expect(
      try sentence { try full.subset(scratch.path("x.lmoe")) { $0.experts = ["b", "nobody"] } }
        == "\(full.path) has no bank \"expert/nobody\"")
    let none = try full.subset(scratch.path("none.lmoe")) { $0.experts = [] }
    #expect(none.banks(ofKind: "expert").isEmpty && none.banks(ofKind: "gate").count == 2)
  }

  @Test func `equal tensors are copied once`() throws {
    let scratch = try Scratch()
    let noise = (0..<40_000).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 13) }
    let type = try #require(TensorType(dtype: .u8, shape: [40_000]))
    let entries = ["x", "y"].map { NewEntry(tensor: $0, type: type, source: MemorySource(noise)) }
    let bundle = try scratch.bundle(
      "twins.lmoe", [("base", ["kind": "base"], entries), ("expert/e", ["kind": "expert"], entries)])
    let copy = try bundle.subset(scratch.path("copy.lmoe"))
    #expect(try BundleDifference(bundle, copy).items.isEmpty)
    #expect(copy.fileBytes == bundle.fileBytes)
    let offsets = try copy.banks.flatMap { try copy.manifest(of: $0).tensors.map { $0.chunks[0].offset } }
    #expect(Set(offsets).count == 1 && offsets.count == 4)
  }
}
