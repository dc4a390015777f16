import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Experts that go from one bundle to another, and the bases that they belong to.
@Suite struct IdentityTests {
  static let codecs = CodecPolicy.allCases.flatMap { from in CodecPolicy.allCases.map { (from, $0) } }

  @Test(arguments: codecs) func `an expert goes over as it is stored`(
    from: CodecPolicy, to: CodecPolicy
  ) throws {
    let scratch = try Scratch()
    let source = try scratch.bundle(experts: [Scratch.adapter("math")], codec: from)
    let target = try scratch.bundle(experts: [Scratch.adapter("code")], codec: to)
    let expert = try StoredExpert("math", in: source)
    let result = try target.adding(expert, as: "sums", codec: to)
    let bank = try result.bank("expert/sums")
    #expect(bank.id == expert.bank.id && bank.contentID == expert.bank.contentID)
    #expect(bank.isRaw == expert.bank.isRaw && bank.storedBytes == expert.bank.storedBytes)
    #expect(try result.card(of: bank) == expert.card)
    let (left, right) = (try source.manifest(of: expert.bank), try result.manifest(of: bank))
    #expect(
      left.entries.map { $0.chunks.map(\.storedHash) } == right.entries.map { $0.chunks.map(\.storedHash) })
    #expect(left.entries.map(\.name) == right.entries.map(\.name))
    #expect(result.generation == target.generation + 1 && result.banks.count == target.banks.count + 1)
    #expect(try result.verify(decoding: true) == [])
    try BundleExport(result).write("expert/sums", to: scratch.path("sums"))
    #expect(try Scratch.contents(scratch.path("sums")) == Scratch.contents(Scratch.adapter("math")))
  }

  @Test func `a copy beside the original has an id of its own`() throws {
    let scratch = try Scratch()
    let source = try scratch.bundle(experts: [Scratch.adapter("math")])
    let expert = try StoredExpert("math", in: source)
    var target = try scratch.bundle(experts: [])
    target = try target.adding(expert, as: "first")
    target = try target.adding(expert, as: "second")
    // And of an expert of the same file.
    target = try target.adding(try StoredExpert("first", in: target), as: "third")
    let banks = try ["first", "second", "third"].map { try target.bank("expert/" + $0) }
    #expect(banks[0].id == expert.bank.id && Set(banks.map(\.id)).count == 3)
    let tensors = try banks.map { try target.manifest(of: $0).tensors }
    #expect(tensors[1] == tensors[0] && tensors[2] == tensors[0], "their bytes are shared")
    #expect(Set(try banks.map { try target.card(of: $0)?["base"]?["match"]?.string }) == ["asserted"])
    #expect(try target.verify(decoding: true) == [])
    let taken = try sentence { try target.adding(expert, as: "first") }
    #expect(
      taken
        == "\(target.path) already has a bank \"expert/first\"; remove it first or choose another name")
    // It comes back under its old id where that is free again.
    let writer = try BundleWriter(appendingTo: target.path)
    try writer.removeBank("expert/first")
    try writer.commit(note: "remove")
    target = try Bundle(path: target.path).adding(expert, as: "again")
    #expect(try target.bank("expert/again").id == expert.bank.id)
  }

  @Test func `a raw expert stays raw beside its packed twin`() throws {
    let scratch = try Scratch()
    let raw = try scratch.bundle(experts: [Scratch.adapter("math")], codec: .raw)
    let packed = try scratch.bundle(experts: [Scratch.adapter("math")])
    let mixed = try packed.adding(try StoredExpert("math", in: raw), as: "raw")
    #expect(try mixed.bank("expert/raw").isRaw && !mixed.bank("expert/math").isRaw)
    // The other way round there is nothing to write: a raw copy serves a packed one.
    let shared = try raw.adding(try StoredExpert("math", in: packed), as: "packed")
    #expect(
      try shared.manifest(of: shared.bank("expert/packed")).tensors
        == shared.manifest(of: shared.bank("expert/math")).tensors)
    for bundle in [mixed, shared] { #expect(try bundle.verify(decoding: true) == []) }
  }

  @Test func `another base is refused, or accepted and recorded`() throws {
    let scratch = try Scratch()
    let source = try scratch.bundle(experts: [Scratch.adapter("math")])
    let other = try scratch.bundle(base: try scratch.retrained())
    let expert = try StoredExpert("math", in: source)
    let (own, here) = (try source.bank("base").contentID, try other.bank("base").contentID)
    #expect(own != here)
    let before = try Data(contentsOf: URL(filePath: other.path))
    #expect(
      try sentence { try other.adding(expert, as: "math") }
        == "\(source.path)#math was trained on the base \(own), and this bundle's base is \(here); "
        + "add it to a bundle of its own base, or accept this one with --allow-base-mismatch")
    #expect(try Data(contentsOf: URL(filePath: other.path)) == before)

    let accepted = try other.adding(expert, as: "math", allowsMismatch: true)
    let base = try #require(try accepted.base(ofExpert: "math"))
    #expect(
      base == [
        "name": "tiny-llama", "source_id": .string("\(own)"), "match": "mismatched",
        "accepted_for": .string("\(here)"),
      ])
    // What was accepted for a base needs no leave for the same base, and is not taken for more elsewhere.
    let stored = try StoredExpert("math", in: accepted)
    #expect(try accepted.adding(stored, as: "copy").base(ofExpert: "copy") == base)
    let third = try scratch.bundle(
      base: try scratch.checkpoint("third") {
        try $0.map { try $0.name == Scratch.changed ? $0 : $0.flipped() }
      })
    #expect(try sentence { try third.adding(stored, as: "math") }.contains("--allow-base-mismatch"))
    // At home again it is asserted, as it was.
    let home = try scratch.bundle(experts: []).adding(stored, as: "math")
    #expect(
      try home.base(ofExpert: "math") == [
        "name": "tiny-llama", "source_id": .string("\(own)"), "match": "asserted",
      ])
  }

  static func lora(_ rank: UInt64, input: UInt64, output: UInt64) throws -> [NewEntry] {
    [
      try Scratch.zeros("p.q.lora_A.weight", [rank, input]),
      try Scratch.zeros("p.q.lora_B.weight", [output, rank]),
    ]
  }

  static func card(_ sourceID: JSON, match: String = "verified") -> JSON {
    [
      "card": 1, "kind": "expert", "type": "lora", "prefix": "p.",
      "modules": [["rank": 2, "alpha": 2, "scaling": 1, "targets": ["q"]]],
      "base": ["name": "x", "source_id": sourceID, "match": .string(match)], "mine": [.double(1.5), "kept"],
    ]
  }

  static let (one, two) = (String(repeating: "1", count: 32), String(repeating: "2", count: 32))

  /// Source ids of expert and base, and the match after copying.
  @Test(
    arguments: [
      (one, one, "verified", one), (one, nil, "asserted", one), (nil, two, "asserted", two),
      (nil, nil, "asserted", nil),
      (String(repeating: "A", count: 32), String(repeating: "a", count: 32), "verified", "A"),
    ] as [(String?, String?, String, String?)])
  func `what is known of the bases`(expert: String?, base: String?, match: String, kept: String?) throws {
    let scratch = try Scratch()
    let (left, right) = (expert.map(JSON.string) ?? .null, base.map(JSON.string) ?? .null)
    let source = try scratch.bundle(
      "source.lmoe", [("expert/x", Self.card(left), try Self.lora(2, input: 4, output: 6))])
    let target = try scratch.base("target.lmoe", [("q.weight", [6, 4])], sourceID: right)
    let result = try target.adding(try StoredExpert("x", in: source), as: "x")
    let found = try result.base(ofExpert: "x")
    #expect(found?["match"]?.string == match && found?["accepted_for"] == nil)
    #expect(found?["source_id"]?.string?.prefix(1) == kept?.prefix(1))
    #expect(try result.card(of: result.bank("expert/x"))?["mine"] == [.double(1.5), "kept"])
  }

  @Test func `damage on the way`() throws {
    let scratch = try Scratch()
    let source = try scratch.bundle(experts: [Scratch.adapter("math")])
    let target = try scratch.bundle(experts: [])
    let before = try Data(contentsOf: URL(filePath: target.path))
    let (damaged, expected) = try source.damaged("expert/math", as: scratch.path("damaged.lmoe"))
    #expect(try sentence { try target.adding(try StoredExpert("math", in: damaged), as: "x") } == expected)
    #expect(try sentence { try damaged.subset(scratch.path("part.lmoe")) } == expected)
    #expect(try Data(contentsOf: URL(filePath: target.path)) == before)
    let names = try FileManager.default.contentsOfDirectory(atPath: scratch.path)
    #expect(!names.contains { $0.hasPrefix("part") || $0.hasSuffix(".partial") })
    // Bytes that are here already are compared, not trusted: the damage is found all the same.
    let twin = try scratch.bundle(experts: [Scratch.adapter("math")])
    #expect(try sentence { try twin.adding(try StoredExpert("math", in: damaged), as: "x") } == expected)
    // Damage in what is here is not shared with, and harms nobody.
    let (harmed, _) = try twin.damaged("expert/math", as: scratch.path("harmed.lmoe"))
    let healed = try harmed.adding(try StoredExpert("math", in: source), as: "x")
    #expect(Set(try healed.verify(decoding: true).map(\.bank)) == ["expert/math"])
  }
}
