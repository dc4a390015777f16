import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import class LMoEFormat.Bundle
import Testing

/// Checkpoints that are damaged, or hold more than a checkpoint.
@Suite(.timeLimit(.minutes(1))) struct CheckpointTests {
  /// A change to a copy of the sharded checkpoint.
  struct Damage: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let code: ExpertError.Code
    var name: String?
    let apply: @Sendable (String) throws -> Void
  }

  static let index = "model.safetensors.index.json"
  static let norm = "model.norm.weight"

  private static func shard(_ number: Int) -> String { "model-0000\(number)-of-00004.safetensors" }

  private static func write(_ text: String, _ path: String) throws {
    try Data(text.utf8).write(to: URL(filePath: path))
  }

  /// Changes the index's list of tensors.
  private static func map(_ change: @escaping @Sendable (inout JSONObject) -> Void)
    -> @Sendable (String) throws -> Void
  {
    { path in
      try edit(path + "/" + index) { object in
        var map = try #require(object["weight_map"]?.object)
        change(&map)
        object["weight_map"] = .object(map)
      }
    }
  }

  static let damages: [Damage] = [
    Damage(testDescription: "no config.json", code: .noConfiguration) {
      try FileManager.default.removeItem(atPath: $0 + "/config.json")
    },
    Damage(testDescription: "config.json is a list", code: .invalidConfiguration) {
      try write("[]", $0 + "/config.json")
    },
    Damage(testDescription: "config.json with a byte order mark", code: .invalidConfiguration) {
      try write("\u{FEFF}{}", $0 + "/config.json")
    },
    Damage(testDescription: "config.json is empty", code: .invalidConfiguration) {
      try write("", $0 + "/config.json")
    },
    Damage(testDescription: "a missing shard", code: .missingShard, name: shard(2)) {
      try FileManager.default.removeItem(atPath: $0 + "/" + shard(2))
    },
    Damage(testDescription: "a stale shard", code: .staleShard, name: "model-00005-of-00005.safetensors") {
      try FileManager.default.copyItem(
        atPath: $0 + "/" + shard(1), toPath: $0 + "/model-00005-of-00005.safetensors")
    },
    Damage(testDescription: "shards without an index", code: .staleShard, name: shard(1)) {
      try FileManager.default.removeItem(atPath: $0 + "/" + index)
    },
    Damage(testDescription: "one file and an index", code: .ambiguousWeights) {
      try FileManager.default.copyItem(atPath: $0 + "/" + shard(1), toPath: $0 + "/model.safetensors")
    },
    Damage(
      testDescription: "a tensor in the wrong shard", code: .missingTensor, name: norm,
      apply: map { $0[norm] = .string(shard(1)) }),
    Damage(
      testDescription: "a tensor that is nowhere", code: .missingTensor, name: "ghost",
      apply: map { $0["ghost"] = .string(shard(3)) }),
    Damage(
      testDescription: "a tensor that is not listed", code: .unlistedTensor, name: norm,
      apply: map { $0[norm] = nil }),
    Damage(testDescription: "a shard twice", code: .duplicateTensor) {
      try FileManager.default.removeItem(atPath: $0 + "/" + shard(2))
      try FileManager.default.copyItem(atPath: $0 + "/" + shard(1), toPath: $0 + "/" + shard(2))
    },
    Damage(
      testDescription: "a path in the index", code: .invalidIndex,
      apply: map { $0[norm] = .string("../" + shard(4)) }),
    Damage(
      testDescription: "an absolute path in the index", code: .invalidIndex,
      apply: map { $0[norm] = "/etc/passwd" }),
    Damage(testDescription: "a directory in the index", code: .invalidIndex, apply: map { $0[norm] = ".." }),
    Damage(testDescription: "a number in the index", code: .invalidIndex, apply: map { $0[norm] = 4 }),
    Damage(
      testDescription: "another file in the index", code: .missingShard, name: "config.json",
      apply: map { $0[norm] = "config.json" }),
    Damage(testDescription: "an index without a map", code: .invalidIndex) {
      try edit($0 + "/" + index) { $0["weight_map"] = nil }
    },
    Damage(testDescription: "an index that is not JSON", code: .invalidConfiguration) {
      try write("{", $0 + "/" + index)
    },
    Damage(testDescription: "an index that lists nothing", code: .staleShard, name: shard(1)) {
      try edit($0 + "/" + index) { $0["weight_map"] = [:] }
    },
    Damage(testDescription: "other weights only", code: .pickledWeights, name: "pytorch_model.bin") { path in
      for number in 1...4 { try FileManager.default.removeItem(atPath: path + "/" + shard(number)) }
      try FileManager.default.moveItem(atPath: path + "/" + index, toPath: path + "/pytorch_model.bin")
    },
  ]

  @Test(arguments: damages) func `damage`(damage: Damage) throws {
    let scratch = try Scratch()
    let path = try scratch.copy("tiny-llama-sharded", as: "a directory with spaces")
    #expect(try HFCheckpoint(path: path).files.count == 4)
    try damage.apply(path)
    let error = #expect(throws: ExpertError.self) { _ = try HFCheckpoint(path: path) }
    #expect(error?.code == damage.code)
    if let name = damage.name { #expect(error?.name == name) }
    #expect(error?.description.hasPrefix(path) == true)
    #expect(error?.description.contains("\n") == false)
  }

  @Test func `a damaged shard is named`() throws {
    let scratch = try Scratch()
    let path = try scratch.copy("tiny-llama-sharded")
    let file = path + "/" + Self.shard(3)
    let bytes = try Data(contentsOf: URL(filePath: file))
    try bytes.dropLast().write(to: URL(filePath: file))
    let error = #expect(throws: FormatError.self) { _ = try HFCheckpoint(path: path) }
    #expect(error?.code == .safetensorsInvalid && error?.path == file)
  }

  @Test func `what is not a checkpoint directory`() throws {
    let scratch = try Scratch()
    let file = #expect(throws: ExpertError.self) {
      _ = try HFCheckpoint(path: Scratch.fixtures + "/tiny-llama/config.json")
    }
    #expect(file?.code == .notADirectory)
    let missing = #expect(throws: FileError.self) { _ = try HFCheckpoint(path: scratch.path("no")) }
    #expect(missing?.isNotFound == true)
    let adapter = #expect(throws: ExpertError.self) {
      _ = try HFCheckpoint(path: Scratch.fixtures + "/adapters/math")
    }
    #expect(adapter?.code == .noConfiguration && adapter?.expected == "config.json")
  }

  @Test func `what is not taken is named`() throws {
    let scratch = try Scratch()
    let path = try scratch.copy("tiny-llama")
    for name in [
      "pytorch_model.bin", "model.gguf", ".gitattributes", "extra.safetensors", "notes\u{1B}[31m.pt",
    ] {
      try Self.write("x", path + "/" + name)
    }
    for name in ["onnx", "additional_chat_templates"] {
      try FileManager.default.createDirectory(atPath: path + "/" + name, withIntermediateDirectories: false)
      try Self.write("{{ x }}", path + "/" + name + "/tool.jinja")
    }
    // Neither may stop it.
    #expect(mkfifo(path + "/fifo", 0o600) == 0)
    try FileManager.default.createSymbolicLink(atPath: path + "/dangling.txt", withDestinationPath: "nowhere")
    #expect(truncate(path + "/README.md", 0) != 0)
    #expect(FileManager.default.createFile(atPath: path + "/large.csv", contents: nil))
    #expect(truncate(path + "/large.csv", 64 << 20 + 1) == 0)
    let checkpoint = try HFCheckpoint(path: path)
    #expect(
      checkpoint.leftOut == [
        ".gitattributes", "dangling.txt", "extra.safetensors", "fifo", "large.csv", "model.gguf",
        "notes\u{1B}[31m.pt",
        "onnx", "pytorch_model.bin",
      ])
    let bundle = try scratch.bundle(base: path)
    #expect(
      try bundle.document("files/additional_chat_templates/tool.jinja", in: bundle.bank("base"))
        == Array("{{ x }}".utf8))
  }

  @Test func `a document whose name moves the cursor is refused`() throws {
    let scratch = try Scratch()
    let path = try scratch.copy("tiny-llama")
    try Self.write("x", path + "/a\u{1B}[2Jb.txt")
    let error = #expect(throws: FormatError.self) { _ = try HFCheckpoint(path: path) }
    #expect(error?.code == .invalidName)
    #expect(
      error?.description.contains("a␛[2Jb.txt") == true && error?.description.contains("\u{1B}") == false)
  }

  @Test func `a directory of links, as in the hub's cache`() throws {
    let scratch = try Scratch()
    let blobs = try scratch.copy("tiny-llama-sharded", as: "blobs")
    try FileManager.default.createDirectory(
      atPath: scratch.path("snapshot"), withIntermediateDirectories: false)
    for name in try FileManager.default.contentsOfDirectory(atPath: blobs) {
      try FileManager.default.createSymbolicLink(
        atPath: scratch.path("snapshot/" + name), withDestinationPath: "../blobs/" + name)
    }
    let linked = try HFCheckpoint(path: scratch.path("snapshot"))
    #expect(linked.leftOut == [] && linked.files.count == 4)
    #expect(linked.tensors.map(\.tensor) == (try HFCheckpoint(path: blobs).tensors.map(\.tensor)))
  }
}
