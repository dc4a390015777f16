import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

extension RuntimeFixture {
  /// The bundle with its base and its experts quantized.
  func quantized(
    _ bundle: Bundle, base: QuantizedType? = nil, experts: QuantizedType? = nil, names: [String]? = nil
  ) throws -> Bundle {
    var quantization = Quantization()
    (quantization.base, quantization.experts, quantization.names) = (base, experts, names)
    var options = BundleWriter.Options()
    options.codec = .raw
    options.pool = Self.pool
    let output = "\(directory)/\(UUID()).lmoe"
    _ = try quantization.run(bundle.path, output: output, options: options)
    return try Bundle(path: output)
  }

  /// The same with what the blocks stand for, as float32.
  func decoded(_ bundle: Bundle) throws -> Bundle {
    let path = "\(directory)/\(UUID()).lmoe"
    try FileManager.default.copyItem(atPath: bundle.path, toPath: path)
    let writer = try BundleWriter(appendingTo: path)
    for bank in bundle.banks where bank.kind == "base" || bank.kind == "expert" {
      let entries = try bundle.manifest(of: bank).tensors.filter { $0.type.geometry != nil }
      let floats = try entries.map { try Self.decoded($0, bundle) }
      if floats.isEmpty { continue }
      let blocks = Set(entries.map(\.name))
      try writer.reviseBank(
        bank.name, card: bundle.card(of: bank) ?? [:],
        keeping: { $0.class != .tensor || !blocks.contains($0.name) }, adding: floats)
    }
    try writer.commit(note: "test")
    return try Bundle(path: path)
  }

  private static func decoded(_ entry: Entry, _ bundle: Bundle) throws -> NewEntry {
    let raw = RawBuffer(count: entry.type.rawBytes)
    try bundle.source(of: entry).read(into: raw.prefix(entry.type.rawBytes), at: 0)
    let geometry = try #require(entry.type.geometry)
    var values = LMoERuntimeTests.decoded(
      Array(raw.prefix(entry.type.rawBytes)), geometry, entry.type.elementCount)
    var (name, shape) = (entry.name, entry.type.shape)
    if let range = name.range(of: ".lora_B.transposed") {
      name.replaceSubrange(range, with: ".lora_B.weight")
      let (rows, columns) = (shape[0], shape[1])
      values = (0..<values.count).map { values[$0 % rows * columns + $0 / rows] }
      shape = [columns, rows]
    }
    let type = try #require(TensorType(dtype: .f32, shape: shape.map(UInt64.init)))
    return NewEntry(
      tensor: name, type: type,
      source: MemorySource(values.flatMap { value in withUnsafeBytes(of: value) { Array($0) } }))
  }
}
