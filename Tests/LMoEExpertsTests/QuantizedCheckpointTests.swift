import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// zlib's CRC-32.
private func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
  var crc: UInt32 = 0xFFFF_FFFF
  for byte in bytes {
    crc ^= UInt32(byte)
    for _ in 0..<8 {
      let isOdd = crc & 1 == 1
      crc >>= 1
      if isOdd { crc ^= 0xEDB8_8320 }
    }
  }
  return ~crc
}

/// Checkpoints that other tools quantized come in as blocks that say the same, bit for bit.
@Suite struct QuantizedCheckpointTests {
  private static let names = ["nf4", "gptq", "gptq-v2", "awq"]

  @Test(arguments: names, [1 << 20, 500]) func `nothing is lost`(name: String, chunk: Int) throws {
    let scratch = try Scratch()
    let checkpoint = try HFCheckpoint(path: Fixture.path("quantized/" + name))
    var options = BundleWriter.Options()
    options.pool = WorkerPool(count: 2)
    options.chunkBytes = chunk
    let writer = try BundleWriter(creating: scratch.path("q.lmoe"), options: options)
    try writer.addBase(checkpoint, try checkpoint.resolved())
    try writer.commit(note: "test")
    let bundle = try Bundle(path: scratch.path("q.lmoe"))
    #expect(try bundle.verify(decoding: true) == [])
    let expected = try #require(try Fixture.expected("quantized/" + name).object)
    let manifest = try bundle.manifest(of: bundle.bank("base"))
    #expect(manifest.tensors.count == expected.members.count)
    for (tensor, crc) in expected.members {
      let entry = try #require(manifest.tensor(tensor), "\(tensor)")
      #expect((entry.type.geometry != nil) == tensor.hasSuffix("_proj.weight"))
      let reader = try #require(FloatValues(entry.type))
      let buffer = RawBuffer(count: entry.type.rawBytes)
      let bytes = buffer.prefix(entry.type.rawBytes)
      try bundle.source(of: entry).read(into: bytes, at: 0)
      var floats = [Float](repeating: .nan, count: entry.type.elementCount)
      floats.withUnsafeMutableBufferPointer { reader.convert(UnsafeRawBufferPointer(bytes), to: $0) }
      // A zero may have either sign.
      for index in floats.indices where floats[index] == 0 { floats[index] = 0 }
      #expect(floats.withUnsafeBytes(checksum) == UInt32(crc.int ?? -1), "\(tensor)")
    }
    let card = try #require(try bundle.card(of: bundle.bank("base")))
    #expect(card["source_id"] == JSON.null && card["files"] == [])
    #expect(card["quantized"]?["type"] == (name == "nf4" ? "NF4" : "I4_GROUP of 32"))
    #expect(
      card["quantized"]?["imported"] == (name == "nf4" ? "bitsandbytes" : name == "awq" ? "awq" : "gptq"))
    #expect(try BaseIdentity(checkpoint).contentID == bundle.bank("base").contentID)
    #expect(try bundle.baseDescription().model.hiddenSize == 64)

    // It leaves as floats, in one file.
    var export = BundleExport(bundle)
    #expect(refusal { try export.write("base", to: scratch.path("no")) }.contains("--dequantize"))
    export.dequantization = Dequantization(.f32)
    try export.write("base", to: scratch.path("out"))
    let again = try HFCheckpoint(path: scratch.path("out"))
    #expect(again.configuration["quantization_config"] == nil && again.configuration["dtype"] == "float32")
    #expect(again.tensors.count == expected.members.count)
    for (tensor, file) in again.tensors {
      let buffer = RawBuffer(count: tensor.type.rawBytes)
      let bytes = buffer.prefix(tensor.type.rawBytes)
      try file.source(of: tensor).read(into: bytes, at: 0)
      var floats = Array(bytes.bindMemory(to: Float.self))
      for index in floats.indices where floats[index] == 0 { floats[index] = 0 }
      #expect(floats.withUnsafeBytes(checksum) == UInt32(expected[tensor.name]?.int ?? -1), "\(tensor.name)")
    }
  }

  @Test(arguments: [
    ("nf4", "bnb_4bit_quant_type", "fp4", "bitsandbytes fp4"),
    ("nf4", "bnb_4bit_use_double_quant", "", "without double quantization"),
    ("gptq", "bits", "", "other than 4 bits"), ("gptq", "group_size", "", "groups of other than"),
    ("gptq", "quant_method", "aqlm", "aqlm"), ("awq", "version", "gemv", "the form gemv"),
  ]) func `refused by name`(name: String, key: String, value: String, sentence: String) throws {
    let scratch = try Scratch()
    let copy = try scratch.copy("quantized/" + name)
    try edit(copy + "/config.json") { object in
      var configuration = try #require(object["quantization_config"]?.object)
      configuration[key] = value.isEmpty ? nil : .string(value)
      object["quantization_config"] = .object(configuration)
    }
    let found = refusal { _ = try HFCheckpoint(path: copy).resolved() }
    #expect(found.contains("the checkpoint is quantized (") && found.contains(sentence), "\(found)")
  }

  @Test func `groups must be runs of neighbours`() throws {
    let scratch = try Scratch()
    let copy = try scratch.copy("quantized/gptq")
    let name = "model.layers.0.mlp.up_proj.g_idx"
    try editTensors(copy + "/model.safetensors") { entries in
      let index = try #require(entries.firstIndex { $0.name == name })
      entries[index] = try tensor(
        name, [64], .i32, bytes: (0..<64).flatMap { [UInt8($0 % 2), 0, 0, 0] })
    }
    let found = refusal { _ = try HFCheckpoint(path: copy).resolved() }
    #expect(found.contains("desc_act") && found.contains(name), "\(found)")
  }

  @Test func `a part that is missing or of another shape`() throws {
    let scratch = try Scratch()
    for (name, part) in [
      ("nf4", "mlp.up_proj.weight.absmax"), ("gptq", "mlp.up_proj.scales"), ("awq", "mlp.up_proj.qzeros"),
    ] {
      for shape in [nil, [UInt64(3), 5]] {
        let copy = try scratch.copy("quantized/" + name, as: "\(name)\(shape == nil)")
        try editTensors(copy + "/model.safetensors") { entries in
          let index = try #require(entries.firstIndex { $0.name.hasSuffix(part) })
          let old = entries.remove(at: index)
          if let shape { entries.append(try tensor(old.name, shape, old.type.dtype)) }
        }
        let found = refusal { _ = try HFCheckpoint(path: copy).resolved() }
        #expect(found.contains("model.layers.0.mlp.up_proj"), "\(found)")
      }
    }
  }
}
