import Foundation
import LMoECore
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// `verify --against-base`.
@Suite(.timeLimit(.minutes(2))) struct AgainstBaseTests {
  private let tool: Tool
  private let id: Bits128
  private static let llama = Tool.fixtures + "/tiny-llama"

  init() throws {
    tool = try Tool()
    try tool.makeBundle("a.lmoe", experts: ["math"])
    id = try Bundle(path: tool.path("a.lmoe")).bank("base").contentID
  }

  private func verify(_ base: String) throws -> (status: Int32, lines: [String]) {
    try verify("a.lmoe", base)
  }

  private func verify(_ file: String, _ base: String) throws -> (status: Int32, lines: [String]) {
    let output = try tool.run("verify", file, "--against-base", base)
    #expect(output.err == "")
    return (output.status, output.out.split(separator: "\n").map(String.init))
  }

  private func bundle(_ name: String, _ tensors: [(String, DType, [UInt64])], sourceID: String) throws {
    let writer = try BundleWriter(creating: tool.path(name))
    try writer.addBank(
      "base", card: ["kind": "base", "source_id": .string(sourceID)],
      entries: try tensors.map { name, dtype, shape in
        let type = try #require(TensorType(dtype: dtype, shape: shape))
        let zeros = [UInt8](repeating: 0, count: type.rawBytes)
        return NewEntry(tensor: name, type: type, source: MemorySource(zeros))
      })
    try writer.commit(note: "test")
  }

  @Test func `the same base`() throws {
    try tool.makeBundle("light.lmoe", "--no-embed-base")
    for file in ["a.lmoe", "light.lmoe"] {
      for base in [Self.llama, "a.lmoe", "light.lmoe"] {
        let (status, lines) = try verify(file, base)
        #expect(status == 0 && lines.count == 2 && lines.first?.hasPrefix("\(file): whole; ") == true)
        #expect(lines.last == "\(file): the base has the same bytes as \(base): 29 tensors, id \(id)")
      }
    }
    let json = try tool.succeed("verify", "a.lmoe", "--against-base", Self.llama, "--json").json()
    #expect(json["ok"] == true)
    #expect(
      json["against_base"] == [
        "path": .string(Self.llama), "verdict": "same bytes", "content_id": .string("\(id)"),
        "source_id": .string("\(id)"), "same_content_id": true, "same_source_id": true,
        "configuration_differences": [], "difference_count": 0, "differences": [],
      ])
    #expect(try tool.succeed("verify", "a.lmoe", "--json").json()["against_base"] == nil)
  }

  @Test func `the same weights with another configuration`() throws {
    let copy = tool.path("copy")
    try FileManager.default.copyItem(atPath: Self.llama, toPath: copy)
    let file = URL(filePath: copy + "/config.json")
    let text = try String(contentsOf: file, encoding: .utf8)
    try Data(text.replacing("\"rms_norm_eps\": 1e-05", with: "\"rms_norm_eps\": 0.001").utf8).write(to: file)
    let (status, lines) = try verify("a.lmoe", "copy")
    #expect(status == 1)
    #expect(
      lines.suffix(2) == [
        "a.lmoe: the configurations of the two bases differ:", "  norm_epsilon is 1e-05, there 0.001",
      ])
    #expect(try tool.run("import", "--base", "copy", "-o", "b.lmoe").status == 0)
    let output = try tool.run("add", "b.lmoe", "x=a.lmoe#math")
    #expect(output.status == 0)
    #expect(
      output.err
        == "Note: a.lmoe#math: the configurations of the two bases differ: norm_epsilon 1e-05 there, 0.001 here\n"
    )
  }

  @Test func `another base`() throws {
    // One value of one tensor.
    let copy = tool.path("copy")
    try FileManager.default.copyItem(atPath: Self.llama, toPath: copy)
    var bytes = try tool.contents("copy/model.safetensors")
    bytes[bytes.count - 1] ^= 1
    try Data(bytes).write(to: URL(filePath: copy + "/model.safetensors"))
    let (status, lines) = try verify("copy")
    #expect(status == 1)
    try #require(lines.count == 3)
    #expect(lines[1] == "a.lmoe: the base is not the one in copy: 1 of 29 tensors differ")
    #expect(lines[2].hasPrefix("  model.") && lines[2].hasSuffix(": values differ"))

    try bundle("tiny.lmoe", [("model.norm.weight", .f16, [64]), ("w", .f32, [2])], sourceID: "0")
    let (second, list) = try verify("tiny.lmoe")
    #expect(second == 1)
    try #require(list.count == 13)
    #expect(list[1] == "a.lmoe: the base is not the one in tiny.lmoe: 30 of 30 tensors differ")
    #expect(list[2] == "  model.embed_tokens.weight: only in a.lmoe" && list[12] == "  and 20 more")
    let (third, back) = try verify("tiny.lmoe", "a.lmoe")
    #expect(third == 1 && back.dropFirst(2).first == "  model.embed_tokens.weight: only in a.lmoe")

    let json = try tool.run("verify", "a.lmoe", "--against-base", "tiny.lmoe", "--json").json()
    #expect(json["ok"] == true, "the file itself is whole")
    let report = try #require(json["against_base"])
    #expect(report["verdict"] == "different" && report["difference_count"] == 30)
    #expect(report["same_content_id"] == false && report["same_source_id"] == false)
    #expect(report["differences"]?.array?.count == 10)
    #expect(
      report["differences"]?.array?.first == [
        "tensor": "model.embed_tokens.weight", "change": "only in first", "first": nil, "second": nil,
      ])

    try bundle("x.lmoe", [("w", .f16, [2]), ("v", .f32, [4])], sourceID: "0")
    try bundle("y.lmoe", [("w", .f32, [2]), ("v", .f32, [2, 2])], sourceID: "1")
    #expect(
      try verify("x.lmoe", "y.lmoe").lines.dropFirst() == [
        "x.lmoe: the base is not the one in y.lmoe: 2 of 2 tensors differ",
        "  v: shape [4], there [2, 2]", "  w: dtype F16, there F32",
      ])
  }

  @Test func `another form of the same base`() throws {
    try bundle("q.lmoe", [("w", .f16, [2])], sourceID: "\(id)")
    try bundle("r.lmoe", [("w", .f32, [2])], sourceID: "\(id)")
    for (file, base, relation) in [
      ("q.lmoe", "a.lmoe", "this base is a quantized or cast form of it"),
      ("q.lmoe", Self.llama, "this base is a quantized or cast form of it"),
      ("a.lmoe", "q.lmoe", "that one is a quantized or cast form of this base"),
      ("q.lmoe", "r.lmoe", "both are quantized or cast forms of one original"),
    ] {
      let (status, lines) = try verify(file, base)
      #expect(status == 0)
      #expect(lines.last == "\(file): the base has the same source as \(base) (\(relation))")
    }
  }

  @Test func `damage comes first`() throws {
    let bank = try Bundle(path: tool.path("a.lmoe")).bank("base")
    let entry = try #require(try Bundle(path: tool.path("a.lmoe")).manifest(of: bank).tensors.first)
    var bytes = try tool.contents("a.lmoe")
    bytes[Int(try #require(entry.chunks.first).offset)] ^= 1
    try Data(bytes).write(to: URL(filePath: tool.path("a.lmoe")))
    let (status, lines) = try verify(Self.llama)
    #expect(status == 1)
    try #require(lines.count == 2)
    #expect(lines[0].contains("stored bytes are damaged"))
    #expect(lines[1] == "a.lmoe: not compared with \(Self.llama), for it is damaged")
    let json = try tool.run("verify", "a.lmoe", "--against-base", Self.llama, "--json").json()
    #expect(json["ok"] == false && json["against_base"]?.isNull == true)
  }

  @Test(arguments: [
    ("a.lmoe missing", 74, "cannot open missing: no such file or directory"),
    (
      "a.lmoe @/adapters/math", 3,
      "@/adapters/math has no config.json; point at the directory that save_pretrained wrote"
    ),
    ("none.lmoe a.lmoe", 3, "none.lmoe has no base bank; import one first"),
    ("a.lmoe none.lmoe", 3, "none.lmoe has no base bank; import one first"),
  ])
  func `nothing to compare with`(arguments: String, status: Int32, sentence: String) throws {
    try BundleWriter(creating: tool.path("none.lmoe")).commit(note: "none")
    func expanded(_ text: String) -> String { text.replacingOccurrences(of: "@/", with: Tool.fixtures + "/") }
    let parts = arguments.split(separator: " ").map { expanded(String($0)) }
    let output = try tool.run("verify", parts[0], "--against-base", parts[1])
    #expect(output.status == status && output.out == "" && output.err == "Error: \(expanded(sentence))\n")
  }
}
