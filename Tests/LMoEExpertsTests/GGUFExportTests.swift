import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Bases as GGUF files, out and in; the files of `fixtures/gguf` are laid out by the format's own library.
@Suite struct GGUFExportTests {
  static let families = ["llama-f32", "llama-biased", "mistral", "qwen2", "qwen3"]

  static func bytes(_ source: any ByteSource, _ type: TensorType) throws -> [UInt8] {
    var data = [UInt8](repeating: 0xEE, count: type.rawBytes)
    try data.withUnsafeMutableBytes { try source.read(into: $0, at: 0) }
    return data
  }

  /// The values of a tensor of F32 or BF16.
  static func floats(_ source: any ByteSource, _ type: TensorType) throws -> [Float] {
    let data = try bytes(source, type)
    let width = type.unitBytes
    return (0..<type.elementCount).map { index in
      let raw = data[index * width..<(index + 1) * width].reversed().reduce(UInt32(0)) {
        $0 << 8 | UInt32($1)
      }
      return Float(bitPattern: width == 2 ? raw << 16 : raw)
    }
  }

  static func export(
    _ bundle: Bundle, to path: String, as element: GGUFElement = .asStored
  ) throws -> (file: GGUFFile, notes: [String]) {
    let notes = try GGUFExport(bundle, base: try ResolvedBase(bundle), on: WorkerPool(count: 2))
      .writeBase(to: path, as: element)
    return (try GGUFFile(path: path), notes)
  }

  @Test(arguments: families) func `a base is laid out as the reference does`(family: String) throws {
    let scratch = try Scratch()
    let bundle = try scratch.bundle(base: Fixture.path("families/" + family))
    let (file, _) = try Self.export(bundle, to: scratch.path("out.gguf"))
    let expected = try GGUFFile(path: Fixture.path("gguf/\(family).gguf"))
    for (key, value) in expected.metadata where !key.hasPrefix("general.") {
      #expect(file.value(key) == value, "\(key)")
    }
    #expect(Set(file.tensors.map(\.name)) == Set(expected.tensors.map(\.name)))
    for tensor in expected.tensors {
      let own = try #require(file.tensors.first { $0.name == tensor.name })
      #expect(own.type == tensor.type, "\(tensor.name)")
      if tensor.name == "rope_freqs.weight" {
        let pairs = zip(
          try Self.floats(file.source(of: own), own.type),
          try Self.floats(expected.source(of: tensor), tensor.type))
        #expect(pairs.allSatisfy { abs($0 - $1) <= 1e-6 * $1 })
      } else {
        #expect(
          try Self.bytes(file.source(of: own), own.type)
            == Self.bytes(expected.source(of: tensor), tensor.type),
          "\(tensor.name)")
      }
    }
  }

  @Test(arguments: families) func `a file of the library is imported as the checkpoint`(family: String) throws
  {
    let scratch = try Scratch()
    let gguf = try GGUFBase(path: Fixture.path("gguf/\(family).gguf"))
    let path = scratch.path("in.lmoe")
    let writer = try BundleWriter(creating: path)
    try writer.addBase(gguf)
    try writer.commit(note: "test")
    let bundle = try Bundle(path: path)
    let model = try Fixture.model(family).names.model
    let found = try bundle.baseDescription().model
    // The reference converter says nothing of windows.
    #expect(found.differences(from: model).map(\.key).filter { !["family", "windows"].contains($0) } == [])
    let checkpoint = try HFCheckpoint(path: Fixture.path("families/" + family))
    let bank = try bundle.bank("base")
    let manifest = try bundle.manifest(of: bank)
    #expect(manifest.tensors.count == checkpoint.tensors.count)
    for (tensor, file) in checkpoint.tensors {
      let entry = try #require(manifest.tensor(tensor.name), "\(tensor.name)")
      #expect(
        try Self.floats(bundle.source(of: entry), entry.type)
          == Self.floats(file.source(of: tensor), tensor.type), "\(tensor.name)")
    }
    if family == "llama-f32" {
      // Nothing was cast: it is the same base.
      #expect(bank.contentID == (try BaseIdentity(checkpoint)).contentID)
      // And it can be written as a checkpoint.
      try BundleExport(bundle).write("base", to: scratch.path("hf"))
      let again = try HFCheckpoint(path: scratch.path("hf"))
      #expect(try BaseIdentity(again).contentID == bank.contentID)
      #expect(try again.resolved().names.model == model)
    }
  }

  @Test(arguments: GGUFElement.allCases.filter { ![.q8_0, .q4_0, .q4K, .q6K].contains($0) })
  func `a base comes back`(element: GGUFElement) throws {
    let scratch = try Scratch()
    for family in ["llama", "mistral", "qwen2", "llama-yarn", "llama-bare"] {
      let bundle = try scratch.bundle(base: Fixture.path("families/" + family))
      let path = scratch.path("\(family).gguf")
      _ = try Self.export(bundle, to: path, as: element)
      let returned = scratch.path("\(family).lmoe")
      let writer = try BundleWriter(creating: returned)
      try writer.addBase(try GGUFBase(path: path))
      try writer.commit(note: "test")
      let again = try Bundle(path: returned)
      #expect(try again.baseDescription().model == bundle.baseDescription().model, "\(family)")
      #expect(try again.baseDescription().sourceID == bundle.baseDescription().sourceID)
      // Experts of one fit the other.
      #expect(BaseComparison(try BaseIdentity(bundle), try BaseIdentity(again)).hasSameSource)
    }
  }

  @Test func `what llama.cpp would compute otherwise is said`() throws {
    let scratch = try Scratch()
    func notes(_ family: String) throws -> [String] {
      let bundle = try scratch.bundle(base: Fixture.path("families/" + family))
      return try Self.export(bundle, to: scratch.path("\(family).gguf")).notes
    }
    let none = "the base has no tokenizer, and neither has the file"
    #expect(try notes("llama") == [none])
    #expect(
      try notes("mistral") == [
        "llama.cpp has no sliding window for this architecture: numbers agree up to 8 tokens, not beyond",
        none,
      ])
    #expect(
      try notes("llama-v4") == [
        "llama.cpp has no dynamic rope scaling: numbers agree up to 24 tokens, not beyond", none,
      ])
  }

  /// A checkpoint whose configuration was changed, without weights behind it that anybody reads.
  private func refusedExport(_ family: String, _ changes: [(String, JSON)]) throws -> String {
    let scratch = try Scratch()
    let copy = try scratch.copy("families/" + family)
    try edit(copy + "/config.json") { object in for (key, value) in changes { object[key] = value } }
    let bundle = try scratch.bundle(base: copy)
    let sentence = refusal { _ = try Self.export(bundle, to: scratch.path("out.gguf")) }
    #expect(!FileManager.default.fileExists(atPath: scratch.path("out.gguf")))
    return sentence.replacingOccurrences(of: bundle.path, with: "FILE")
  }

  @Test func `what llama.cpp cannot compute is refused`() throws {
    let rope: JSON = [
      "rope_type": "yarn", "rope_theta": 10_000, "factor": 4, "original_max_position_embeddings": 64,
      "beta_fast": 16,
    ]
    #expect(
      try refusedExport("llama-f32", [("rope_parameters", rope)])
        == "FILE: \"rope_type\" cannot be exported: llama.cpp has yarn for llama with beta 32 and 1 alone")
    let llama3: JSON = [
      "rope_type": "llama3", "rope_theta": 10_000, "factor": 4, "original_max_position_embeddings": 64,
      "low_freq_factor": 1, "high_freq_factor": 4,
    ]
    #expect(
      try refusedExport("qwen3", [("rope_parameters", llama3)])
        == "FILE: \"rope_type\" cannot be exported: llama.cpp has rope of the type llama3 for the architecture llama alone"
    )
    let scratch = try Scratch()
    let bundle = try scratch.bundle()
    try scratch.write([], to: "there")
    #expect(
      refusal { _ = try Self.export(bundle, to: scratch.path("there")) }.hasSuffix(
        "already exists; choose another path or remove it"))
  }

  /// A GGUF file like a fixture's, with other keys and tensors.
  private func changed(
    _ scratch: Scratch, _ change: (inout [(key: String, value: GGUFValue)], inout [NewEntry]) throws -> Void
  ) throws -> String {
    let file = try GGUFFile(path: Fixture.path("gguf/llama-f32.gguf"))
    var keys = file.metadata
    var tensors = file.tensors.map { NewEntry(tensor: $0.name, type: $0.type, source: file.source(of: $0)) }
    try change(&keys, &tensors)
    let path = scratch.path("\(UUID()).gguf")
    try GGUFWriter.write(path, metadata: keys, tensors: tensors)
    return refusal { _ = try GGUFBase(path: path) }.replacingOccurrences(of: path, with: "FILE")
  }

  @Test func `a file that this tool cannot compute is refused by name`() throws {
    let scratch = try Scratch()
    func set(_ key: String, _ value: GGUFValue?) throws -> String {
      try changed(scratch) { keys, _ in
        keys.removeAll { $0.key == key }
        if let value { keys.append((key, value)) }
      }
    }
    #expect(
      try set("general.architecture", .string("gemma3"))
        == "FILE: the model_type \"gemma3\" is not supported; this tool knows llama, qwen2, qwen3")
    #expect(
      try set("general.type", .string("adapter"))
        == "FILE: \"general.type\" is \"adapter\", to be added with --expert or \"add\", which this tool cannot compute"
    )
    #expect(
      try set("llama.expert_count", .u32(8)).hasPrefix(
        "FILE: \"llama.expert_count\" is 8, and this tool does not know"))
    #expect(try set("llama.expert_count", .u32(0)) == "")
    #expect(
      try set("llama.embedding_scale", .f32(12)).hasPrefix(
        "FILE: \"llama.embedding_scale\" is 12.0, and this"))
    #expect(
      try set("llama.rope.scaling.type", .string("longrope"))
        == "FILE: \"rope.scaling.type\" is \"longrope\", which this tool cannot compute")
    #expect(
      try set("llama.rope.dimension_count", .u32(4)).contains(
        "llama.rope.dimension_count is 4, and heads are 16 wide"))
    #expect(
      try set("llama.block_count", nil)
        == "FILE is not a valid configuration: llama.block_count is missing or 0")
    #expect(try set("split.count", .u16(3)).contains("join the parts with llama-gguf-split --merge"))
    #expect(
      try changed(scratch) { _, tensors in tensors.removeLast() }.contains("model has the tensor"))
    #expect(
      try changed(scratch) { _, tensors in
        tensors.append(try tensor("blk.0.ffn_gate_inp.weight", [4], .f32))
      }
        == "FILE: the tensor \"blk.0.ffn_gate_inp.weight\" has no place in a llama model; the checkpoint is of another architecture than config.json says"
    )
    let blocks = try #require(GGMLType(code: 13)?.geometry)
    let type = try #require(TensorType(dtype: .block, geometry: blocks, shape: [96, 256]))
    #expect(
      try changed(scratch) { _, tensors in
        tensors[1] = NewEntry(
          tensor: tensors[1].name, type: type,
          source: MemorySource([UInt8](repeating: 0, count: type.rawBytes)))
      }.contains("is Q5_K, which this tool cannot compute with; convert the model to F16"))
  }
}
