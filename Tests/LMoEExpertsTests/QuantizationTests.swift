import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// The values of a tensor of floats or blocks.
private func values(_ name: String, _ bank: String, _ bundle: Bundle) throws -> [Float] {
  let entry = try #require(try bundle.manifest(of: bundle.bank(bank)).tensor(name), "\(name)")
  let reader = try #require(FloatValues(entry.type))
  let buffer = RawBuffer(count: entry.type.rawBytes)
  let bytes = buffer.prefix(entry.type.rawBytes)
  try bundle.source(of: entry).read(into: bytes, at: 0)
  return [Float](unsafeUninitializedCapacity: entry.type.elementCount) { floats, count in
    reader.convert(UnsafeRawBufferPointer(bytes), to: floats)
    count = entry.type.elementCount
  }
}

/// ‖a − b‖ / ‖b‖.
private func distance(_ found: [Float], _ expected: [Float]) -> Double {
  #expect(found.count == expected.count)
  let pairs = zip(found, expected).map { (Double($0), Double($1)) }
  let difference = pairs.reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
  return (difference / pairs.reduce(0) { $0 + $1.1 * $1.1 }).squareRoot()
}

/// B·A by rows.
private func product(b: [Float], a: [Float], rank: Int) -> [Float] {
  let (rows, columns) = (b.count / rank, a.count / rank)
  var result = [Float](repeating: 0, count: rows * columns)
  for row in 0..<rows {
    for inner in 0..<rank {
      for column in 0..<columns {
        result[row * columns + column] += b[row * rank + inner] * a[inner * columns + column]
      }
    }
  }
  return result
}

@Suite struct QuantizationTests {
  private static func options(chunk: Int = 1 << 20) -> BundleWriter.Options {
    var options = BundleWriter.Options()
    options.codec = .raw
    options.pool = WorkerPool(count: 2)
    options.chunkBytes = chunk
    return options
  }

  /// What a type of those bits loses of numbers that are about normal, at most and at least.
  private static func loss(_ type: QuantizedType) -> ClosedRange<Double> {
    switch type {
    case .q8_0, .i8: 0.001...0.012
    case .q6K: 0.005...0.03
    default: 0.03...0.12
    }
  }

  private static let types = QuantizedType.allCases.filter {
    ![.q4K, .q6K, .i4Group64, .i4Group128].contains($0)
  }

  @Test(arguments: types, [nil, 1000]) func `a base in blocks`(type: QuantizedType, chunk: Int?) throws {
    let scratch = try Scratch()
    let before = try scratch.bundle(experts: ["\(Scratch.fixtures)/adapters/math"])
    var quantization = Quantization()
    quantization.base = type
    let report = try quantization.run(
      before.path, output: scratch.path("q.lmoe"), options: Self.options(chunk: chunk ?? 1 << 20))
    let after = try Bundle(path: scratch.path("q.lmoe"))
    #expect(try after.verify(decoding: true) == [])
    #expect(after.banks.map(\.name) == before.banks.map(\.name))
    #expect(after.banks.map(\.id) == before.banks.map(\.id))
    #expect(try after.bank("expert/math").contentID == before.bank("expert/math").contentID)
    #expect(try after.bank("base").contentID != before.bank("base").contentID)
    let (old, new) = (
      try #require(try before.card(of: before.bank("base"))),
      try #require(try after.card(of: after.bank("base")))
    )
    #expect(new["source_id"] == old["source_id"] && new["quantized"]?["type"] == .string(type.name))
    #expect(new["norms"] == old["norms"] && new["parameters"] == old["parameters"])
    let scheme = String(type.name.prefix { $0 != " " })
    #expect((new["dtypes"]?[scheme]?.int ?? 0) > 1000 && new["dtypes"]?["BLOCK"] == nil)

    for entry in try before.manifest(of: before.bank("base")).tensors {
      let made = try #require(try after.manifest(of: after.bank("base")).tensor(entry.name))
      #expect(made.type.shape == entry.type.shape)
      guard entry.type.shape.count == 2 else {
        #expect(made.type == entry.type && made.contentHash == entry.contentHash, "\(entry.name)")
        continue
      }
      let original = try values(entry.name, "base", before)
      #expect(
        Self.loss(type).contains(distance(try values(entry.name, "base", after), original)), "\(entry.name)")
      // What is made part by part is what is made at once.
      let geometry = try #require(made.type.geometry)
      let quantizer = try #require(BlockQuantizer(geometry))
      let offset = original.withUnsafeBufferPointer {
        quantizer.needsOffset ? BlockQuantizer.offset(BlockQuantizer.largestSizes($0)) : 0
      }
      var blocks = [UInt8](repeating: 0, count: made.type.rawBytes)
      let bad = original.withUnsafeBufferPointer { floats in
        blocks.withUnsafeMutableBytes { quantizer.quantize(floats, offset: offset, to: $0) }
      }
      #expect(bad == nil && Checksum.hash128(blocks) == made.contentHash, "\(entry.name)")
    }
    let rows = report.rows
    #expect(rows.map(\.class) == [.embedding, .attention, .mlp, .other])
    for row in rows where row.class != .other {
      #expect(row.converted == row.tensors && row.error.count == row.elements)
      #expect(Self.loss(type).contains(row.error.relative), "\(row.class) \(row.error.relative)")
      #expect(row.bitsBefore == 16 && row.error.relativeLargest > row.error.relative)
      // These matrices fill no block of NF4.
      #expect(row.bitsAfter < 12 || type == .nf4)
    }
    #expect(rows.last?.converted == 0)
  }

  @Test func `in place, and what is kept`() throws {
    let scratch = try Scratch()
    let before = try scratch.bundle()
    let old = try values("model.layers.0.mlp.up_proj.weight", "base", before)
    var quantization = Quantization()
    quantization.base = .q8_0
    quantization.kept = [.embedding, .attention]
    let report = try quantization.run(before.path, options: Self.options())
    #expect(report.rows.map(\.converted) == [0, 0, 9, 0])
    let after = try Bundle(path: before.path)
    #expect(after.generation == before.generation + 1)
    #expect(try after.verify(decoding: true) == [])
    #expect(try after.history().first?.root.note == "quantize base to Q8_0")
    #expect(try distance(values("model.layers.0.mlp.up_proj.weight", "base", after), old) < 0.01)
    let card = try after.card(of: after.bank("base"))
    #expect(card?["quantized"]?["kept"] == ["embedding", "attention"])
    // What was there can be had again.
    #expect(
      try after.history().dropFirst().first?.root.bank("base")?.contentID
        == before.bank("base").contentID)
  }

  @Test(arguments: [QuantizedType.q8_0, .q4_0, .nf4, .i8, .i4Group32]) func `experts in blocks`(
    type: QuantizedType
  ) throws {
    let scratch = try Scratch()
    let names = ["math", "code", "verse", "dora", "embed"]
    let before = try scratch.bundle(experts: names.map { "\(Scratch.fixtures)/adapters/\($0)" })
    var quantization = Quantization()
    quantization.experts = type
    quantization.names = names.filter { $0 != "verse" }
    _ = try quantization.run(before.path, output: scratch.path("q.lmoe"), options: Self.options())
    let after = try Bundle(path: scratch.path("q.lmoe"))
    #expect(try after.verify(decoding: true) == [])
    #expect(try after.bank("expert/verse").contentID == before.bank("expert/verse").contentID)
    #expect(try after.bank("base").contentID == before.bank("base").contentID)
    for name in names where name != "verse" {
      let bank = "expert/" + name
      #expect(try after.bank(bank).id == before.bank(bank).id)
      let card = try #require(try after.card(of: after.bank(bank)))
      #expect(card["quantized"]?["type"] == .string(type.name) && card["files"] == [])
      let (old, new) = (
        try before.manifest(of: before.bank(bank)), try after.manifest(of: after.bank(bank))
      )
      #expect(new.document("safetensors/adapter_model.safetensors") == nil)
      #expect(new.tensors.count == old.tensors.count)
      for entry in old.tensors {
        guard entry.name.hasSuffix(".lora_A.weight") else {
          // Everything but the two factors is as it was.
          if !entry.name.hasSuffix(".lora_B.weight") {
            #expect(new.tensor(entry.name)?.contentHash == entry.contentHash, "\(entry.name)")
          }
          continue
        }
        let module = String(entry.name.dropLast(".lora_A.weight".count))
        let rank = entry.type.shape[0]
        #expect(new.tensor(module + ".lora_B.weight") == nil)
        let stored = try #require(new.tensor(module + ".lora_B.transposed"))
        #expect(stored.type.shape[0] == rank && stored.type.geometry != nil)
        #expect(new.tensor(entry.name)?.type.geometry != nil)
        let transposed = try values(stored.name, bank, after)
        let outputs = stored.type.shape[1]
        let b = (0..<transposed.count).map { transposed[$0 % rank * outputs + $0 / rank] }
        let found = product(b: b, a: try values(entry.name, bank, after), rank: rank)
        let expected = product(
          b: try values(module + ".lora_B.weight", bank, before), a: try values(entry.name, bank, before),
          rank: rank)
        #expect(distance(found, expected) < (type == .q8_0 || type == .i8 ? 0.02 : 0.25), "\(entry.name)")
      }
    }
  }

  /// Scales of a tiny B would be zeros in a half; what A can spare goes to it.
  @Test func `factors are balanced`() throws {
    let scratch = try Scratch()
    let adapter = try scratch.copy("adapters/math")
    let file = adapter + "/adapter_model.safetensors"
    func scaled(_ values: [Float], _ factor: Float) -> [UInt8] {
      values.flatMap { value in
        let bits = (value * factor).bitPattern
        return (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
      }
    }
    let plain = try scratch.bundle(experts: [adapter])
    try editTensors(file) { entries in
      entries = try entries.map { entry in
        let factor: Float = entry.name.hasSuffix("lora_A.weight") ? 0x1p20 : 0x1p-20
        return try tensor(
          entry.name, entry.type.shape.map { UInt64($0) }, .f32,
          bytes: scaled(try values(entry.name, "expert/copy", plain), factor))
      }
    }
    let before = try scratch.bundle(experts: [adapter])
    var quantization = Quantization()
    quantization.experts = .q8_0
    let report = try quantization.run(before.path, options: Self.options())
    #expect(report.rows.allSatisfy { $0.error.relative < 0.012 })
    let after = try Bundle(path: before.path)
    let module = "base_model.model.model.layers.0.self_attn.q_proj"
    let a = try values(module + ".lora_A.weight", "expert/copy", after)
    let b = try values(module + ".lora_B.transposed", "expert/copy", after)
    let (lengthOfA, lengthOfB) = (
      a.reduce(0) { $0 + $1 * $1 }.squareRoot(), b.reduce(0) { $0 + $1 * $1 }.squareRoot()
    )
    #expect((0.4...2.5).contains(lengthOfA / lengthOfB), "\(lengthOfA) \(lengthOfB)")
  }

  @Test func `rows that are not whole blocks stay`() throws {
    let scratch = try Scratch()
    // Hidden 32, intermediate 48: down_proj has rows of 48.
    let bundle = try scratch.bundle(base: Fixture.path("families/llama"))
    var quantization = Quantization()
    quantization.base = .q8_0
    let report = try quantization.run(bundle.path, options: Self.options())
    #expect(report.notes.count == 1)
    #expect(report.notes.first?.contains("down_proj.weight and 1 more stay as they are") == true)
    let after = try Bundle(path: bundle.path)
    let manifest = try after.manifest(of: after.bank("base"))
    #expect(manifest.tensor("model.layers.0.mlp.down_proj.weight")?.type.dtype == .bf16)
    #expect(manifest.tensor("model.layers.0.mlp.up_proj.weight")?.type.geometry == .q8_0)
    quantization.base = .q4K
    #expect(
      refusal { _ = try quantization.run(scratch.bundle(base: Fixture.path("families/llama")).path) }
        .contains("rows are not whole blocks of Q4_K"))
  }

  @Test func `what was lost is not found again`() throws {
    let scratch = try Scratch()
    let bundle = try scratch.bundle()
    func quantize(_ type: QuantizedType) throws -> QuantizationReport {
      var quantization = Quantization()
      quantization.base = type
      return try quantization.run(bundle.path, options: Self.options())
    }
    let original = try values("model.layers.0.mlp.up_proj.weight", "base", bundle)
    #expect(try quantize(.q8_0).notes == [])
    #expect(refusal { _ = try quantize(.q8_0) }.hasPrefix("\(bundle.path) has nothing to quantize"))
    #expect(refusal { _ = try quantize(.i8) }.contains("is Q8_0 already, and I8_ROW would keep no more"))
    let notes = try quantize(.q4_0).notes
    #expect(notes.count == 1 && notes.first?.contains("were Q8_0 before") == true)
    let after = try Bundle(path: bundle.path)
    let found = try values("model.layers.0.mlp.up_proj.weight", "base", after)
    #expect(Self.loss(.q4_0).contains(distance(found, original)))
    let card = try after.card(of: after.bank("base"))
    #expect(card?["quantized"]?["of"]?["type"] == "Q8_0")
    #expect(refusal { _ = try quantize(.q8_0) }.contains("is Q4_0 already"))
    // 4 bits of another kind are no fewer.
    #expect(refusal { _ = try quantize(.nf4) }.contains("quantize the original again"))
  }

  @Test func `refused by name`() throws {
    let scratch = try Scratch()
    let copy = try scratch.copy("tiny-llama")
    var name = ""
    try editTensors(copy + "/model.safetensors") { entries in
      let index = try #require(entries.firstIndex { $0.name.hasSuffix("1.mlp.up_proj.weight") })
      name = entries[index].name
      var bytes = [UInt8](repeating: 0, count: entries[index].type.rawBytes)
      // An infinity.
      (bytes[2 * 777], bytes[2 * 777 + 1]) = (0x80, 0x7F)
      entries[index] = try tensor(name, entries[index].type.shape.map { UInt64($0) }, bytes: bytes)
    }
    for type in [QuantizedType.q8_0, .nf4] {
      let bundle = try scratch.bundle(base: copy)
      let generation = bundle.generation
      var quantization = Quantization()
      quantization.base = type
      let sentence = refusal { _ = try quantization.run(bundle.path, options: Self.options()) }
      #expect(
        sentence.hasPrefix("\(bundle.path): element 777 of the tensor \"\(name)\" is not a finite"),
        "\(sentence)")
      #expect(try Bundle(path: bundle.path).generation == generation)
    }
    var quantization = Quantization()
    quantization.base = .q8_0
    let external = try scratch.bundle(embeds: false)
    #expect(
      refusal { _ = try quantization.run(external.path) }.contains(
        "take them in first with \"lmoe-tool export"))
    quantization = Quantization()
    quantization.experts = .q8_0
    #expect(refusal { _ = try quantization.run(external.path) }.hasSuffix("it has no experts"))
    quantization.names = ["mth"]
    let bundle = try scratch.bundle(experts: ["\(Scratch.fixtures)/adapters/math"])
    #expect(refusal { _ = try quantization.run(bundle.path) }.contains("expert/mth"))
  }

  @Test(arguments: [DType.f32, .f16, .bf16]) func `out as floats`(dtype: DType) throws {
    let scratch = try Scratch()
    for (number, base) in ["tiny-llama", "tiny-llama-sharded"].enumerated() {
      let bundle = try scratch.bundle(
        base: Fixture.path(base), experts: ["math", "dora"].map { "\(Scratch.fixtures)/adapters/\($0)" })
      var quantization = Quantization()
      (quantization.base, quantization.experts) = (.q8_0, .q4_0)
      _ = try quantization.run(bundle.path, options: Self.options())
      let after = try Bundle(path: bundle.path)
      var export = BundleExport(after)
      let remedy = "add --dequantize bf16, f16 or f32"
      #expect(refusal { try export.write("base", to: scratch.path("no")) }.contains(remedy))
      #expect(refusal { _ = try export.writeAdapter("math", to: scratch.path("no")) }.contains(remedy))
      #expect(!FileManager.default.fileExists(atPath: scratch.path("no")))
      export.dequantization = Dequantization(dtype)
      let (model, math) = (scratch.path("model\(number)"), scratch.path("math\(number)"))
      try export.write("base", to: model)
      _ = try export.writeAdapter("math", to: math)
      let again = try scratch.bundle(base: model, experts: [math])
      let limit = dtype == .f32 ? 0 : dtype == .f16 ? 6e-4 : 4e-3
      for entry in try after.manifest(of: after.bank("base")).tensors {
        let back = try #require(try again.manifest(of: again.bank("base")).tensor(entry.name))
        #expect(back.type.dtype == dtype && back.type.shape == entry.type.shape)
        #expect(
          try distance(values(entry.name, "base", again), values(entry.name, "base", after)) <= limit)
      }
      #expect(
        try Fixture.directoryDType(model)
          == (dtype == .f32 ? "float32" : dtype == .f16 ? "float16" : "bfloat16"))
      let bank = "expert/math\(number)"
      let names = try again.manifest(of: again.bank(bank)).tensors.map(\.name)
      #expect(try Set(names) == Set(bundle.manifest(of: bundle.bank("expert/math")).tensors.map(\.name)))
      for name in names where name.hasSuffix(".lora_B.weight") {
        let stored = name.replacing(".lora_B.weight", with: ".lora_B.transposed")
        let transposed = try values(stored, "expert/math", after)
        let rank = try #require(try after.manifest(of: after.bank("expert/math")).tensor(stored)).type.shape[
          0]
        let outputs = transposed.count / rank
        let expected = (0..<transposed.count).map { transposed[$0 % rank * outputs + $0 / rank] }
        #expect(try distance(values(name, bank, again), expected) <= limit, "\(name)")
      }
    }
  }
}

extension Fixture {
  /// What the configuration of a checkpoint says its floats are.
  fileprivate static func directoryDType(_ directory: String) throws -> String? {
    let bytes = [UInt8](try Data(contentsOf: URL(filePath: directory + "/config.json")))
    let json = try JSON(parsing: bytes)
    return json["dtype"]?.string ?? json["torch_dtype"]?.string
  }
}
