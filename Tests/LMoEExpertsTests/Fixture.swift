import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

/// What is in `fixtures/`, and how to change a copy of it.
enum Fixture {
  static func path(_ name: String) -> String { "\(Scratch.fixtures)/\(name)" }

  /// The directories in a directory of the fixtures, sorted.
  static func directories(in name: String) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path(name))) ?? []
    return names.filter { item in
      var isDirectory: ObjCBool = false
      return FileManager.default.fileExists(atPath: path("\(name)/\(item)"), isDirectory: &isDirectory)
        && isDirectory.boolValue
    }.sorted()
  }

  static func json(_ name: String) throws -> JSON {
    try JSON(parsing: [UInt8](try Data(contentsOf: URL(filePath: path(name)))))
  }

  /// What the libraries make of a checkpoint or an adapter.
  static func expected(_ name: String) throws -> JSON { try json(name + ".expected.json") }

  static func model(_ family: String) throws -> CheckpointModel {
    try HFCheckpoint(path: path("families/" + family)).resolved()
  }
}

/// Writes a safetensors file anew with other tensors.
func editTensors(_ file: String, _ change: (inout [NewEntry]) throws -> Void) throws {
  let old = try SafetensorsFile(path: file)
  var entries = old.tensors.map {
    NewEntry(tensor: $0.name, type: $0.type, source: old.source(of: $0))
  }
  try change(&entries)
  try SafetensorsWriter.write(file, tensors: entries)
}

/// A tensor of zeros, or of the bytes given.
func tensor(
  _ name: String, _ shape: [UInt64], _ dtype: DType = .bf16, bytes: [UInt8]? = nil
) throws -> NewEntry {
  let type = try #require(TensorType(dtype: dtype, shape: shape))
  return NewEntry(
    tensor: name, type: type,
    source: MemorySource(bytes ?? [UInt8](repeating: 0, count: type.rawBytes)))
}

/// The sentence with which `body` is refused, without what it suggests; empty if it is not.
func refusal(_ body: () throws -> Void) -> String {
  do { try body() } catch { return withoutSuggestion("\(error)") }
  return ""
}

/// A sentence without the name that was probably meant: which one is closest is tested elsewhere.
func withoutSuggestion(_ sentence: String) -> String {
  sentence.replacing(#/ \(the nearest is "[^"]*"\)/#, with: "")
    .replacing(#/; did you mean "[^"]*"\?/#, with: "")
}
