import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Bases that are compared, looked up elsewhere, left behind and taken in again.
@Suite struct BaseTests {
  typealias Change = BaseComparison.Difference.Change

  /// How a checkpoint differs from tiny-llama, and what a comparison says of that.
  enum Variant: CaseIterable {
    case same, sharded, value, missing, extra, dtype, shape, name

    func make(_ scratch: Scratch) throws -> String {
      let name = Scratch.changed
      return switch self {
      case .same: Scratch.llama
      case .sharded: try scratch.checkpoint("v", shards: 2)
      case .value: try scratch.retrained("v")
      case .missing: try scratch.checkpoint("v") { $0.filter { $0.name != name } }
      case .extra: try scratch.checkpoint("v") { $0 + [try Scratch.zeros("zz", [2])] }
      case .dtype: try scratch.replacing("v") { try Scratch.zeros($0.name, [64], .f16) }
      case .shape: try scratch.replacing("v") { try Scratch.zeros($0.name, [32, 2], .bf16) }
      case .name:
        try scratch.replacing("v") { NewEntry(tensor: $0.name + "s", type: $0.type, source: $0.source) }
      }
    }

    var differences: [String] {
      let name = Scratch.changed
      return switch self {
      case .same, .sharded: []
      case .value: ["\(name) values"]
      case .missing: ["\(name) only in first"]
      case .extra: ["zz only in second"]
      case .dtype: ["\(name) dtype BF16 F16"]
      case .shape: ["\(name) shape [64] [32, 2]"]
      case .name: ["\(name) only in first", "\(name)s only in second"]
      }
    }

    /// What finding the weights there says; nil if they are there, or if only reading them tells.
    var refusal: String? {
      switch self {
      case .same, .sharded, .value: nil
      case .missing, .name: "the tensor \"\(Scratch.changed)\" is not there"
      case .extra: "the tensor \"zz\" is not in that base"
      case .dtype: "the tensor \"\(Scratch.changed)\" is F16 [64], not BF16 [64]"
      case .shape: "the tensor \"\(Scratch.changed)\" is BF16 [32, 2], not BF16 [64]"
      }
    }
  }

  static func list(_ comparison: BaseComparison) -> [String] {
    comparison.differences.map {
      [$0.name, $0.change.rawValue, $0.first, $0.second].compactMap(\.self).joined(separator: " ")
    }
  }

  @Test(arguments: Variant.allCases, [true, false])
  func `a base is compared with a checkpoint`(variant: Variant, isEmbedded: Bool) throws {
    let scratch = try Scratch()
    let bundle = try scratch.bundle(embeds: isEmbedded)
    let read = Guarded<UInt64>(0)
    let checkpoint = try HFCheckpoint(path: try variant.make(scratch))
    let identity = try BaseIdentity(checkpoint, on: WorkerPool(count: 3)) { bytes in
      read.withValue { $0 += bytes }
    }
    let comparison = BaseComparison(try BaseIdentity(bundle), identity)
    #expect(Self.list(comparison) == variant.differences)
    #expect(comparison.verdict == (variant.differences.isEmpty ? .sameBytes : .different))
    #expect((identity.contentID == (try bundle.bank("base").contentID)) == variant.differences.isEmpty)
    #expect(
      read.withValue { $0 } == checkpoint.tensors.reduce(0) { $0 + UInt64($1.tensor.type.rawBytes) })
    #expect(identity.isOriginal && identity.sourceID == "\(identity.contentID)")
  }

  @Test(arguments: Variant.allCases) func `weights are found elsewhere, or refused`(variant: Variant) throws {
    let scratch = try Scratch()
    let bundle = try scratch.bundle(embeds: false)
    let path = try variant.make(scratch)
    let prefix = "\(path) is not the base of \(bundle.path): "
    let remedy = "; \"lmoe-tool verify \(bundle.path) --against-base \(path)\" lists all that differs"
    if let refusal = variant.refusal {
      #expect(try sentence { try ResolvedBase(bundle, at: path) } == prefix + refusal + remedy)
      return
    }
    let base = try ResolvedBase(bundle, at: path)
    #expect(base.tensors.count == 29 && base.holder == nil && base.index(of: "none") == nil)
    let index = try #require(base.index(of: Scratch.changed))
    let buffer = RawBuffer(count: 128)
    let changed = prefix + "the tensor \"\(Scratch.changed)\" has other values" + remedy
    if variant == .value {
      for _ in 0..<2 { #expect(try sentence { try base.read(index, into: buffer.prefix(128)) } == changed) }
      #expect(try sentence { try base.verify() } == changed)
      #expect(
        try sentence { try BundleExport(bundle, base: base).write("base", to: scratch.path("hf")) } == changed
      )
      #expect(
        try sentence { try bundle.subset(scratch.path("in.lmoe")) { $0.base = .embedded(base) } } == changed)
      let names = try FileManager.default.contentsOfDirectory(atPath: scratch.path)
      #expect(!names.contains { $0 == "hf" || $0 == "in.lmoe" || $0.hasSuffix(".partial") }, "\(names)")
    } else {
      try base.read(index, into: buffer.prefix(128))
      #expect(Checksum.hash128(Array(buffer.prefix(128))) == base.tensors[index].entry.contentHash)
      let read = Guarded<UInt64>(0)
      try base.verify(on: WorkerPool(count: 3)) { bytes in read.withValue { $0 += bytes } }
      let rest = try bundle.bank("base").logicalBytes - 128
      #expect(read.withValue { $0 } == rest, "what was checked is not read again")
      try base.verify { _ in Issue.record("all is checked") }
      try BundleExport(bundle, base: base).write("base", to: scratch.path("hf"))
      #expect(try Scratch.contents(scratch.path("hf")) == Scratch.contents(Scratch.llama))
    }
  }

  @Test(arguments: CodecPolicy.allCases) func `weights in another bundle`(codec: CodecPolicy) throws {
    let scratch = try Scratch()
    let full = try scratch.bundle(experts: [Scratch.adapter("math")], codec: codec)
    let light = try full.subset(scratch.path("light.lmoe")) { $0.base = .withoutWeights }
    #expect(try light.bank("base").isExternal && light.bank("base").id == full.bank("base").id)
    #expect(try light.verify(decoding: true) == [] && light.generation == 1)
    #expect(light.header.fileUUID != full.header.fileUUID)
    #expect(try light.document("files/tokenizer.json", in: light.bank("base")) != nil)
    #expect(Self.list(BaseComparison(try BaseIdentity(light), try BaseIdentity(full))) == [])
    let base = try ResolvedBase(light, at: full.path)
    #expect(base.holder?.path == full.path && base.tensors.allSatisfy { $0.stored != nil })
    try base.verify()
    try BundleExport(light, base: base).write("base", to: scratch.path("hf"))
    #expect(try Scratch.contents(scratch.path("hf")) == Scratch.contents(Scratch.llama))
    // Taken in again, chunk by chunk, it is what it was.
    let again = try light.subset(scratch.path("again.lmoe")) { $0.base = .embedded(base) }
    #expect(try BundleDifference(full, again).items.isEmpty)
    #expect(try again.verify(decoding: true) == [] && again.bank("base").isRaw == (codec == .raw))
    #expect(again.banks.map(\.id) == full.banks.map(\.id))
    #expect(again.banks.map(\.storedBytes) == full.banks.map(\.storedBytes))
    // From the checkpoint, it is encoded anew.
    let fresh = try light.subset(scratch.path("fresh.lmoe")) {
      $0.base = .embedded(try ResolvedBase(light, at: Scratch.llama))
    }
    #expect(try fresh.verify(decoding: true) == [])
    #expect(Self.list(BaseComparison(try BaseIdentity(fresh), try BaseIdentity(full))) == [])

    // An embedded base is where it is.
    #expect(try ResolvedBase(full).holder === full && ResolvedBase(full, at: "nowhere").holder === full)
    // One that is not there is named.
    let outside =
      "the weights of this bank are not in the file; name the checkpoint or the bundle that has them with --base"
    #expect(try sentence { try ResolvedBase(light) } == "\(light.path): bank \"base\": \(outside)")
    let lighter = try light.subset(scratch.path("lighter.lmoe"))
    #expect(
      try sentence { try ResolvedBase(light, at: lighter.path) }
        == "\(lighter.path): bank \"base\": \(outside)")
    #expect(
      try sentence { try ResolvedBase(light, at: "none") } == "cannot open none: no such file or directory")
    let other = try scratch.bundle(base: try scratch.retrained())
    #expect(
      try sentence { try ResolvedBase(light, at: other.path) }
        == "\(other.path) is not the base of \(light.path): the tensor \"\(Scratch.changed)\" has other values; "
        + "\"lmoe-tool verify \(light.path) --against-base \(other.path)\" lists all that differs")
    let baseless = try scratch.bundle("baseless.lmoe", [])
    for body in [
      { _ = try ResolvedBase(light, at: baseless.path) }, { _ = try ResolvedBase(baseless) },
      { _ = try BaseIdentity(baseless) },
    ] { #expect(try sentence(body) == "\(baseless.path) has no base bank; import one first") }
    // Damage there is damage, not another base.
    let (damaged, expected) = try full.damaged("base", as: scratch.path("damaged.lmoe"))
    let harmed = try ResolvedBase(light, at: damaged.path)
    #expect(try sentence { try harmed.verify() }.contains("stored bytes are damaged"))
    #expect(
      try sentence { try light.subset(scratch.path("x.lmoe")) { $0.base = .embedded(harmed) } } == expected)
  }

  @Test func `one source, several forms`() throws {
    let scratch = try Scratch()
    func make(_ name: String, _ dtype: DType, _ sourceID: String?) throws -> BaseIdentity {
      let card: JSON = ["kind": "base", "source_id": sourceID.map(JSON.string) ?? .null]
      return try BaseIdentity(
        try scratch.bundle(name, [("base", card, [try Scratch.zeros("w", [4], dtype)])]))
    }
    let original = try make("a.lmoe", .f32, nil)
    let id = "\(original.contentID)"
    let known = try make("b.lmoe", .f32, id)
    let cast = try make("c.lmoe", .f16, id)
    let other = try make("d.lmoe", .bf16, id.uppercased())
    #expect(BaseComparison(original, known).verdict == .sameBytes && known.isOriginal && !original.isOriginal)
    #expect(BaseComparison(cast, known).verdict == .sameSource && BaseComparison(cast, other).hasSameSource)
    #expect(BaseComparison(cast, original).verdict == .different, "nobody knows the source of the other")
    #expect(Self.list(BaseComparison(cast, other)) == ["w dtype F16 BF16"])
  }
}

extension Scratch {
  /// tiny-llama with another tensor in one place.
  func replacing(_ name: String, _ change: (NewEntry) throws -> NewEntry) throws -> String {
    try checkpoint(name) { try $0.map { try $0.name == Self.changed ? change($0) : $0 } }
  }
}
