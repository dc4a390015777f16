import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import class LMoEFormat.Bundle
import Testing

/// A fresh directory, removed with this object, and what tests put there.
final class Scratch {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appending(path: "lmoe-\(UUID())").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  static let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../fixtures").standardizedFileURL.path

  func path(_ name: String) -> String { path + "/" + name }

  /// A copy of a fixture's directory, to be changed.
  func copy(_ fixture: String, as name: String = "copy") throws -> String {
    try FileManager.default.createDirectory(atPath: path(name), withIntermediateDirectories: false)
    // Only what the files hold: their owner may be another.
    for (file, bytes) in try Self.contents("\(Self.fixtures)/\(fixture)") {
      try write(bytes, to: "\(name)/\(file)")
    }
    return path(name)
  }

  /// All files under a directory, by their paths in it.
  static func contents(_ directory: String) throws -> [String: [UInt8]] {
    var result: [String: [UInt8]] = [:]
    for name in try FileManager.default.subpathsOfDirectory(atPath: directory) {
      let file = URL(filePath: directory).appending(path: name)
      var isDirectory: ObjCBool = false
      _ = FileManager.default.fileExists(atPath: file.path, isDirectory: &isDirectory)
      if !isDirectory.boolValue { result[name] = [UInt8](try Data(contentsOf: file)) }
    }
    return result
  }

  /// Writes a bundle of a checkpoint and adapters, as `import` does.
  func bundle(
    base: String = Scratch.fixtures + "/tiny-llama", experts: [String] = [], codec: CodecPolicy = .planes,
    embeds: Bool = true
  ) throws -> Bundle {
    var options = BundleWriter.Options()
    options.codec = codec
    options.pool = WorkerPool(count: 2)
    let file = path("\(UUID()).lmoe")
    let checkpoint = try HFCheckpoint(path: base)
    let writer = try BundleWriter(creating: file, options: options)
    let description = try writer.addBase(checkpoint, try checkpoint.resolved(), embeds: embeds)
    for directory in experts {
      try writer.addExpert(
        try PEFTAdapter(path: directory), named: URL(filePath: directory).lastPathComponent, on: description)
    }
    try writer.commit(note: "test")
    return try Bundle(path: file)
  }

  /// A new adapter: a configuration that is plain but for `changes`, and zeros for the tensors.
  func adapter(
    _ tensors: [(name: String, dtype: DType, shape: [UInt64])], _ changes: [(String, JSON)] = [],
    as name: String = "adapter"
  ) throws -> String {
    var configuration: JSONObject = JSONObject()
    for (key, value) in [("peft_type", "LORA"), ("r", 1), ("lora_alpha", 16)] + changes {
      configuration[key] = value
    }
    try FileManager.default.createDirectory(atPath: path(name), withIntermediateDirectories: true)
    try write(Array(JSON.object(configuration).serialized().utf8), to: "\(name)/adapter_config.json")
    let entries = try tensors.map { tensor in
      let type = try #require(TensorType(dtype: tensor.dtype, shape: tensor.shape))
      return NewEntry(
        tensor: "base_model.model.\(tensor.name)", type: type,
        source: MemorySource([UInt8](repeating: 0, count: type.rawBytes)))
    }
    try SafetensorsWriter.write(path("\(name)/adapter_model.safetensors"), tensors: entries)
    return path(name)
  }

  func write(_ bytes: [UInt8], to name: String) throws {
    try Data(bytes).write(to: URL(filePath: path(name)))
  }
}

/// Changes a JSON file in place.
func edit(_ file: String, _ change: (inout JSONObject) throws -> Void) throws {
  var object = try #require(try JSON(parsing: [UInt8](try Data(contentsOf: URL(filePath: file)))).object)
  try change(&object)
  try JSON.object(object).serialized(pretty: true).write(toFile: file, atomically: true, encoding: .utf8)
}

/// The two factors of a module.
func factors(
  _ module: String, rank: UInt64 = 1, input: UInt64 = 2, output: UInt64 = 3
) -> [(name: String, dtype: DType, shape: [UInt64])] {
  [("\(module).lora_A.weight", .f32, [rank, input]), ("\(module).lora_B.weight", .f32, [output, rank])]
}
