import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import class LMoEFormat.Bundle
import Testing

/// What goes in comes out, byte for byte.
@Suite struct RoundTripTests {
  static let experts = AdapterTests.importable.map { "\(Scratch.fixtures)/adapters/\($0)" }

  @Test(arguments: CodecPolicy.allCases, ["tiny-llama", "tiny-llama-sharded"])
  func `base and experts`(codec: CodecPolicy, base: String) throws {
    let scratch = try Scratch()
    let source = "\(Scratch.fixtures)/\(base)"
    let bundle = try scratch.bundle(base: source, experts: Self.experts, codec: codec)
    #expect(try bundle.verify(decoding: true) == [])
    let codecs = try bundle.banks.flatMap { try bundle.manifest(of: $0).tensors }.flatMap(\.chunks).map(
      \.codec)
    #expect(
      codec == .raw ? codecs.allSatisfy { $0 == .raw } : codecs.count { $0 == .planes } > codecs.count / 2)
    #expect(bundle.banks.allSatisfy { $0.isRaw == (codec == .raw) })

    let export = BundleExport(bundle)
    let written = try export.write("base", to: scratch.path("base"))
    let expected = try Scratch.contents(source)
    #expect(try Scratch.contents(scratch.path("base")) == expected)
    #expect(written.sorted() == expected.keys.sorted())
    for (directory, name) in zip(Self.experts, AdapterTests.importable) {
      try export.write("expert/" + name, to: scratch.path(name) + "/")
      #expect(try Scratch.contents(scratch.path(name)) == Scratch.contents(directory), "\(name)")
    }
    // Nothing else was left there.
    let names = try FileManager.default.contentsOfDirectory(atPath: scratch.path)
    #expect(Set(names.filter { !$0.hasSuffix(".lmoe") }) == Set(["base"] + AdapterTests.importable))
  }

  private func expectRoundTrip(fileName: String) throws {
    let scratch = try Scratch()
    let path = try scratch.copy("tiny-llama")
    try scratch.write([1, 2, 3], to: "copy/" + fileName)
    let bundle = try scratch.bundle(base: path)
    try BundleExport(bundle).write("base", to: scratch.path("out"))
    #expect(try Scratch.contents(scratch.path("out")) == Scratch.contents(path))
  }

  @Test(arguments: [
    "with space.txt", "-rf", "a=b,c#d.txt", "日本語.json", "\u{202E}exe.txt", "no suffix", "x..",
  ])
  func `awkward file names`(name: String) throws { try expectRoundTrip(fileName: name) }

  @Test
  func `a file name that begins with a combining character`() throws {
    try expectRoundTrip(fileName: "\u{301}notes.txt")
  }

  @Test
  func `a file name as long as the system allows`() throws {
    try expectRoundTrip(fileName: String(repeating: "n", count: 251) + ".txt")
  }

  @Test func `names that String calls equal`() throws {
    // No model has such tensors; a bundle made by another tool may.
    let scratch = try Scratch()
    let type = try #require(TensorType(dtype: .u8, shape: [2]))
    let tensors = ["é", "e\u{301}", "Å", "\u{212B}", "A\u{30A}"].enumerated().map { number, name in
      NewEntry(tensor: name, type: type, source: MemorySource([UInt8(number), 0xFF]))
    }
    try SafetensorsWriter.write(scratch.path("model.safetensors"), tensors: tensors)
    let head = try SafetensorsFile(path: scratch.path("model.safetensors")).head
    let writer = try BundleWriter(creating: scratch.path("equal.lmoe"))
    let documents = [
      ("safetensors/model.safetensors", head), ("files/é.txt", [1]), ("files/e\u{301}.txt", [2]),
    ]
    let bank = try writer.addBank(
      "base", card: [:], entries: tensors + documents.map { try NewEntry(document: $0.0, bytes: $0.1) })
    #expect(bank.tensorCount == 5)
    try writer.commit(note: "equal")
    try BundleExport(try Bundle(path: scratch.path("equal.lmoe"))).write("base", to: scratch.path("out"))
    // Compared as lists of bytes: a dictionary by String would unify the names as well.
    let read = { (name: String) in [UInt8](try Data(contentsOf: URL(filePath: scratch.path(name)))) }
    #expect(try read("out/model.safetensors") == read("model.safetensors"))
    #expect(try read("out/é.txt") == [1] && read("out/e\u{301}.txt") == [2])
  }

  @Test func `a base that is not embedded`() throws {
    let scratch = try Scratch()
    let external = try scratch.bundle(experts: [Self.experts[0]], embeds: false)
    let embedded = try scratch.bundle(experts: [Self.experts[0]])
    let (bank, full) = (try external.bank("base"), try embedded.bank("base"))
    #expect(bank.isExternal && !bank.isRaw && bank.contentID == full.contentID)
    #expect(bank.tensorCount == full.tensorCount && bank.logicalBytes == full.logicalBytes)
    let tensors = try external.manifest(of: bank).tensors
    #expect(tensors.allSatisfy { $0.chunks.isEmpty && $0.chunkRawBytes == 0 })
    #expect(tensors.map(\.contentHash) == (try embedded.manifest(of: full).tensors.map(\.contentHash)))
    #expect(tensors.map(\.type) == (try embedded.manifest(of: full).tensors.map(\.type)))
    // Its files are there all the same, the expert is whole, and the file is small.
    #expect(
      try external.document("files/config.json", in: bank) == embedded.document("files/config.json", in: full)
    )
    #expect(try external.verify(decoding: true) == [])
    #expect(external.fileBytes < embedded.fileBytes / 2)
    try BundleExport(external).write("expert/math", to: scratch.path("math"))
    let error = #expect(throws: FormatError.self) {
      try BundleExport(external).write("base", to: scratch.path("base"))
    }
    #expect(error?.code == .external && error?.bank == "base")
    #expect(
      error?.description
        == "\(external.path): bank \"base\": the weights of this bank are not in the file; name the checkpoint or the bundle that has them with --base"
    )
    #expect(!FileManager.default.fileExists(atPath: scratch.path("base")))
  }

  @Test func `an export that cannot be`() throws {
    let scratch = try Scratch()
    let bundle = try scratch.bundle()
    let before = try FileManager.default.contentsOfDirectory(atPath: scratch.path).sorted()
    let export = BundleExport(bundle)
    let exists = #expect(throws: ExpertError.self) { try export.write("base", to: bundle.path) }
    #expect(exists?.code == .outputExists)
    let bank = #expect(throws: FormatError.self) { try export.write("expert/none", to: scratch.path("out")) }
    #expect(bank?.code == .noSuchBank)
    let parent = #expect(throws: FileError.self) { try export.write("base", to: scratch.path("no/out")) }
    #expect(parent?.isNotFound == true)
    // Damage in the last tensor: what was written before it is taken back.
    let chunk = try #require(try bundle.manifest(of: bundle.bank("base")).tensors.last?.chunks.last)
    var bytes = try Data(contentsOf: URL(filePath: bundle.path))
    bytes[Int(chunk.offset)] ^= 1
    try bytes.write(to: URL(filePath: scratch.path("damaged.lmoe")))
    let damaged = BundleExport(try Bundle(path: scratch.path("damaged.lmoe")))
    let damage = #expect(throws: FormatError.self) { try damaged.write("base", to: scratch.path("out")) }
    #expect(damage?.code == .chunkDamaged)
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: scratch.path).sorted()
        == (before + ["damaged.lmoe"]).sorted())
  }

  @Test(arguments: [
    "files//abs", "files/./x", "files/a//b", "files/a/", "files/", "safetensors//abs", "safetensors/./x",
  ])
  func `a hostile document stays inside`(name: String) throws {
    let scratch = try Scratch()
    let writer = try BundleWriter(creating: scratch.path("hostile.lmoe"))
    let head = [UInt8]([2, 0, 0, 0, 0, 0, 0, 0]) + Array("{}".utf8)
    try writer.addBank("base", card: [:], entries: [try NewEntry(document: name, bytes: head)])
    try writer.commit(note: "hostile")
    let export = BundleExport(try Bundle(path: scratch.path("hostile.lmoe")))
    let error = #expect(throws: ExpertError.self) { try export.write("base", to: scratch.path("out")) }
    #expect(error?.code == .notExportable)
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["hostile.lmoe"])
  }

  @Test func `a tensor that no head lists`() throws {
    let scratch = try Scratch()
    let writer = try BundleWriter(creating: scratch.path("odd.lmoe"))
    let type = try #require(TensorType(dtype: .u8, shape: [1]))
    try writer.addBank(
      "base", card: [:], entries: [NewEntry(tensor: "w", type: type, source: MemorySource([1]))])
    try writer.commit(note: "odd")
    let export = BundleExport(try Bundle(path: scratch.path("odd.lmoe")))
    let error = #expect(throws: ExpertError.self) { try export.write("base", to: scratch.path("out")) }
    #expect(error?.code == .notExportable && error?.name == "w")
  }
}
