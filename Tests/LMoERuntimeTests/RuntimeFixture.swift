import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime
import Testing

import class LMoEFormat.Bundle

/// Bundles made of what is in `fixtures/`, in a directory that goes with this object.
final class RuntimeFixture {
  let directory: String

  init() throws {
    directory = FileManager.default.temporaryDirectory.appending(path: "lmoe-\(UUID())").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: directory) }

  static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../fixtures").standardizedFileURL.path

  static func path(_ name: String) -> String { "\(root)/\(name)" }

  static func directories(in name: String) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path(name))) ?? []
    return names.filter {
      FileManager.default.fileExists(atPath: path("\(name)/\($0)/config.json"))
        || FileManager.default.fileExists(atPath: path("\(name)/\($0)/adapter_config.json"))
    }.sorted()
  }

  static let pool = WorkerPool(count: 2)

  /// A bundle of a checkpoint and adapters, each under the name given.
  func bundle(
    base: String, experts: [(name: String, directory: String)] = [], codec: CodecPolicy = .planes,
    file: String = "\(UUID()).lmoe"
  ) throws -> Bundle {
    var options = BundleWriter.Options()
    options.codec = codec
    options.pool = Self.pool
    // Gates list experts by their ids: with random ones, sums would be in another order each time.
    let count = Guarded<UInt64>(0)
    options.identifier = { () throws(FileError) in
      count.withValue { number in
        number += 1
        return Bits128(high: number, low: 1)
      }
    }
    let writer = try BundleWriter(creating: "\(directory)/\(file)", options: options)
    let checkpoint = try HFCheckpoint(path: Self.path(base))
    let description = try writer.addBase(checkpoint, try checkpoint.resolved(), embeds: true)
    for expert in experts {
      try writer.addExpert(
        try PEFTAdapter(path: Self.path(expert.directory)), named: expert.name, on: description)
    }
    try writer.commit(note: "test")
    return try Bundle(path: "\(directory)/\(file)")
  }
}

/// The tensors of a safetensors file as floats; integers too.
struct Reference {
  private var values: [String: (shape: [Int], values: [Double])] = [:]

  init(_ name: String) throws {
    let file = try SafetensorsFile(path: RuntimeFixture.path(name))
    for tensor in file.tensors {
      let raw = RawBuffer(count: max(1, tensor.type.rawBytes))
      let bytes = UnsafeMutableRawBufferPointer(rebasing: raw.bytes[..<tensor.type.rawBytes])
      try file.source(of: tensor).read(into: bytes, at: 0)
      let count = tensor.type.elementCount
      var numbers: [Double]
      switch tensor.type.dtype {
      case .i64:
        numbers = (0..<count).map { Double(bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self)) }
      case .f64: numbers = (0..<count).map { bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Double.self) }
      default:
        let floats = try #require(FloatValues(tensor.type.dtype))
        var out = [Float](repeating: 0, count: count)
        out.withUnsafeMutableBufferPointer { floats.convert(UnsafeRawBufferPointer(bytes), to: $0) }
        numbers = out.map(Double.init)
      }
      values[tensor.name] = (tensor.type.shape, numbers)
    }
  }

  var names: [String] { values.keys.sorted() }
  func shape(_ name: String) throws -> [Int] { try #require(values[name], "\(name)").shape }
  func floats(_ name: String) throws -> [Double] { try #require(values[name], "\(name)").values }
  func integers(_ name: String) throws -> [Int] { try floats(name).map { Int($0) } }
  func has(_ name: String) -> Bool { values[name] != nil }
}

extension Model {
  /// The logits of every token of a text, computed in steps of the sizes given, or at once.
  func logits(
    _ tokens: [Int], steps: [Int]? = nil, cache precision: KVCache.Precision = .f32,
    recorder: RoutingRecorder? = nil
  ) throws -> [[Float]] {
    let cache = makeCache(precision, capacity: 4)
    var rows: [[Float]] = []
    var start = 0
    for step in steps ?? [tokens.count] {
      try forward(
        [Segment(Array(tokens[start..<start + step]), cache)], wanting: .all, recorder: recorder
      ) { rows.append($0.logits.array) }
      start += step
    }
    return rows
  }
}

/// max |a − b| over max |b|.
func deviation(_ found: [[Float]], _ expected: [[Double]]) -> Double {
  var difference = 0.0
  var largest = 0.0
  for (row, other) in zip(found, expected) {
    for (value, wanted) in zip(row, other) {
      difference = max(difference, abs(Double(value) - wanted))
      largest = max(largest, abs(wanted))
    }
  }
  guard found.count == expected.count, largest > 0, !difference.isNaN else { return .infinity }
  return difference / largest
}

func deviation(_ found: [[Float]], _ expected: [[Float]]) -> Double {
  deviation(found, expected.map { $0.map(Double.init) })
}
