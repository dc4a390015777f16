import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Bases and experts made of little, for what asks who they are.
extension Scratch {
  static let llama = fixtures + "/tiny-llama"

  static func adapter(_ name: String) -> String { "\(fixtures)/adapters/\(name)" }

  /// A copy of tiny-llama's checkpoint with `change`d tensors, in one file or two.
  func checkpoint(
    _ name: String, shards: Int = 1,
    _ change: ([NewEntry]) throws -> [NewEntry] = { $0 }
  ) throws -> String {
    try FileManager.default.createDirectory(atPath: path(name), withIntermediateDirectories: false)
    try write(
      [UInt8](try Data(contentsOf: URL(filePath: Self.llama + "/config.json"))), to: "\(name)/config.json")
    let tensors = try change(
      try HFCheckpoint(path: Self.llama).tensors.map {
        NewEntry(tensor: $0.tensor.name, type: $0.tensor.type, source: $0.file.source(of: $0.tensor))
      })
    if shards == 1 {
      try SafetensorsWriter.write(path("\(name)/model.safetensors"), tensors: tensors)
      return path(name)
    }
    var map = JSONObject()
    for number in 0..<shards {
      let file = "model-0000\(number + 1)-of-0000\(shards).safetensors"
      let part = tensors.enumerated().filter { $0.offset % shards == number }.map(\.element)
      for tensor in part { map[tensor.name] = .string(file) }
      try SafetensorsWriter.write(path("\(name)/\(file)"), tensors: part)
    }
    let index = JSON.object([("weight_map", .object(map))])
    try write(Array(index.serialized().utf8), to: "\(name)/model.safetensors.index.json")
    return path(name)
  }

  /// Another base of the same shapes: one value differs.
  func retrained(_ name: String = "retrained") throws -> String {
    try checkpoint(name) { tensors in
      try tensors.map { $0.name == Self.changed ? try $0.flipped() : $0 }
    }
  }

  static let changed = "model.norm.weight"

  /// A bundle of banks as they are given.
  func bundle(
    _ name: String, _ banks: [(name: String, card: JSON, entries: [NewEntry])], isExternal: Bool = false
  ) throws -> Bundle {
    let writer = try BundleWriter(creating: path(name))
    for bank in banks {
      try writer.addBank(
        bank.name, card: bank.card, entries: bank.entries, isExternal: isExternal && bank.name == "base")
    }
    try writer.commit(note: "test")
    return try Bundle(path: path(name))
  }

  /// A base of zeros.
  func base(_ name: String, _ tensors: [(String, [UInt64])], sourceID: JSON = .null) throws -> Bundle {
    try bundle(
      name,
      [
        (
          "base", ["card": 1, "kind": "base", "source_id": sourceID],
          try tensors.map { try Self.zeros($0.0, $0.1) }
        )
      ])
  }

  static func zeros(_ name: String, _ shape: [UInt64], _ dtype: DType = .f32) throws -> NewEntry {
    let type = try #require(TensorType(dtype: dtype, shape: shape))
    return NewEntry(
      tensor: name, type: type, source: MemorySource([UInt8](repeating: 0, count: type.rawBytes)))
  }
}

extension NewEntry {
  /// The same tensor with its first value changed.
  func flipped() throws -> NewEntry {
    let hash = RawBuffer(count: type.rawBytes)
    try source.read(into: hash.prefix(type.rawBytes), at: 0)
    var bytes = Array(hash.prefix(type.rawBytes))
    bytes[0] ^= 1
    return NewEntry(tensor: name, type: type, source: MemorySource(bytes))
  }
}

extension Bundle {
  /// Copies an expert here and opens the result.
  func adding(
    _ expert: StoredExpert, as name: String, allowsMismatch: Bool = false, codec: CodecPolicy = .planes
  ) throws -> Bundle {
    var options = BundleWriter.Options()
    options.codec = codec
    options.pool = WorkerPool(count: 2)
    let writer = try BundleWriter(appendingTo: path, options: options)
    try writer.addExpert(copying: expert, named: name, allowsMismatch: allowsMismatch)
    try writer.commit(note: "add")
    return try Bundle(path: path)
  }

  func base(ofExpert name: String) throws -> JSON? { try card(of: bank("expert/" + name))?["base"] }

  /// Writes a part of it and opens that.
  func subset(_ path: String, _ change: (inout BundleSubset) throws -> Void = { _ in }) throws -> Bundle {
    var subset = BundleSubset()
    try change(&subset)
    var options = BundleWriter.Options()
    options.pool = WorkerPool(count: 2)
    let writer = try BundleWriter(creating: path, options: options)
    try subset.write(self, to: writer)
    try writer.commit(note: "export")
    return try Bundle(path: path)
  }

  /// Turns a bit of the first stored byte of a tensor, or of its last one if there are more.
  func damaged(_ bank: String, as path: String) throws -> (bundle: Bundle, sentence: String) {
    let entry = try #require(try manifest(of: self.bank(bank)).tensors.last)
    let chunk = try #require(entry.chunks.last)
    var bytes = try Data(contentsOf: URL(filePath: self.path))
    bytes[Int(chunk.offset) + chunk.storedLength - 1] ^= 1
    try bytes.write(to: URL(filePath: path))
    return (
      try Bundle(path: path),
      "\(path): bank \"\(bank)\", \"\(entry.name)\", offset \(chunk.offset): stored bytes are damaged; restore this bank from a copy"
    )
  }
}

/// The sentence of the error that `body` throws.
func sentence<Result>(
  _ body: () throws -> Result, sourceLocation: SourceLocation = #_sourceLocation
) throws -> String {
  do { _ = try body() } catch { return "\(error)" }
  Issue.record("nothing was thrown", sourceLocation: sourceLocation)
  return ""
}
