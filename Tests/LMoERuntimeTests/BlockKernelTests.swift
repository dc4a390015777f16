import CLMoEKernels
import LMoECore
import LMoEFormat
import Testing

/// What ggml, bitsandbytes and formulas make of numbers: `fixtures/blocks`.
private struct BlockFixture {
  struct Blocks {
    let scheme: BlockScheme
    let blockElements: Int
    let bytes: [UInt8]
    /// What they say, where the fixture has it.
    let floats: [Float]?
  }

  let cases: [String: (values: [Float], blocks: [Blocks])]

  init() throws {
    let file = try SafetensorsFile(path: RuntimeFixture.path("blocks/blocks.safetensors"))
    var raw: [String: (type: TensorType, bytes: [UInt8])] = [:]
    for tensor in file.tensors {
      let buffer = RawBuffer(count: tensor.type.rawBytes)
      try file.source(of: tensor).read(into: buffer.prefix(tensor.type.rawBytes), at: 0)
      raw[tensor.name] = (tensor.type, Array(buffer.prefix(tensor.type.rawBytes)))
    }
    func floats(_ name: String) throws -> [Float]? {
      guard let (type, bytes) = raw[name] else { return nil }
      let values = try #require(FloatValues(type.dtype))
      var out = [Float](repeating: 0, count: type.elementCount)
      bytes.withUnsafeBytes { bytes in out.withUnsafeMutableBufferPointer { values.convert(bytes, to: $0) } }
      return out
    }
    var cases: [String: ([Float], [Blocks])] = [:]
    for (name, (_, bytes)) in raw where !name.hasSuffix(".values") && !name.hasSuffix(".floats") {
      let parts = name.split(separator: ".").map(String.init)
      let scheme = try #require(BlockScheme.allCases.first { $0.name == parts[1] })
      let elements =
        switch scheme {
        case .q4_0, .q8_0: 32
        case .q4K, .q6K: 256
        case .nf4: 16_384
        case .i8Row: 96
        case .i4Group: try #require(Int(parts[2]))
        }
      let values = try #require(try floats(parts[0] + ".values"))
      let blocks = Blocks(
        scheme: scheme, blockElements: elements, bytes: bytes, floats: try floats(name + ".floats"))
      cases[parts[0], default: (values, [])].1.append(blocks)
    }
    self.cases = cases
  }
}

private func quantized(_ values: [Float], _ scheme: BlockScheme, _ elements: Int) -> [UInt8] {
  let size = lmoe_block_bytes(Int32(scheme.rawValue), elements)
  var blocks = [UInt8](repeating: 0xAA, count: (values.count + elements - 1) / elements * size)
  guard scheme == .nf4 else {
    #expect(
      lmoe_quantize(Int32(scheme.rawValue), elements, values, nil, values.count, &blocks) == values.count)
    return blocks
  }
  var largest = [Float](repeating: 0, count: (values.count + 63) / 64)
  lmoe_nf4_absmax(values, values.count, &largest)
  let offset = lmoe_nf4_offset(largest, largest.count)
  for block in 0..<blocks.count / size {
    let part = Array(values[block * elements..<min(values.count, (block + 1) * elements)])
    var made = [UInt8](repeating: 0xAA, count: size)
    lmoe_quantize_nf4(part, part.count, offset, &made)
    blocks.replaceSubrange(block * size..<(block + 1) * size, with: made)
  }
  return blocks
}

@Test(arguments: Kernels.variants) func blocksHaveTheBytesOfTheReferences(variant: String) throws {
  let fixture = try BlockFixture()
  #expect(fixture.cases.count == 18)
  for (name, (values, blocks)) in fixture.cases {
    #expect(blocks.count >= (name == "odd" ? 1 : 8))
    for expected in blocks {
      let found = Kernels.with(variant) { quantized(values, expected.scheme, expected.blockElements) }
      let first = zip(found, expected.bytes).enumerated().first { $0.element.0 != $0.element.1 }?.offset
      #expect(
        found == expected.bytes, "\(name) \(expected.scheme.name) differs first at byte \(first ?? -1)")
    }
  }
}

@Test func blocksSayWhatOtherImplementationsRead() throws {
  var seen: Set<BlockScheme> = []
  for (name, (values, blocks)) in try BlockFixture().cases {
    for blocks in blocks {
      guard let expected = blocks.floats else { continue }
      seen.insert(blocks.scheme)
      // Whole, and from and to elements within blocks.
      for range in [0..<values.count, 5..<9, 31..<300, 100..<values.count, 767..<768] {
        var found = [Float](repeating: .nan, count: range.count)
        lmoe_dequantize(
          Int32(blocks.scheme.rawValue), blocks.blockElements, blocks.bytes, range.lowerBound, range.count,
          &found)
        #expect(
          found.map(\.bitPattern) == expected[range].map(\.bitPattern),
          "\(name) \(blocks.scheme.name) \(range)")
      }
    }
  }
  #expect(seen == Set(BlockScheme.allCases))
}

@Test(arguments: Kernels.variants) func importanceIsTheSameOnEveryProcessorAndHelps(variant: String) throws {
  var numbers = Numbers(7)
  let values = numbers.floats(1024)
  let importance = numbers.floats(1024).map { $0 * $0 * $0 * $0 }
  func quantized(_ variant: String, _ importance: [Float]?) -> [UInt8] {
    Kernels.with(variant) {
      var blocks = [UInt8](repeating: 0, count: 1024 / 64 * 35)
      _ = lmoe_quantize(Int32(LMOE_I4_GROUP), 64, values, importance, 1024, &blocks)
      return blocks
    }
  }
  func error(_ blocks: [UInt8]) -> Double {
    var floats = [Float](repeating: 0, count: 1024)
    lmoe_dequantize(Int32(LMOE_I4_GROUP), 64, blocks, 0, 1024, &floats)
    return (0..<1024).reduce(0) {
      let difference = Double(floats[$1] - values[$1])
      return $0 + Double(importance[$1]) * difference * difference
    }
  }
  #expect(quantized(variant, importance) == quantized("portable", importance))
  #expect(error(quantized(variant, importance)) < 0.9 * error(quantized(variant, nil)))
}

@Test(arguments: Kernels.variants) func scalesThatAreTooLargeAreFound(variant: String) {
  // The third block of 32, or the block of 256 that it is in.
  for (scheme, elements, size, expected) in [
    (BlockScheme.q4_0, 32, 18, 64), (.q8_0, 32, 34, 64), (.i4Group, 32, 19, 64), (.q4K, 256, 144, 0),
    (.q6K, 256, 210, 0),
  ] {
    for large in [Float(1e10), 3e37] {
      var values = [Float](repeating: 1, count: 512)
      values[70] = large
      var blocks = [UInt8](repeating: 0, count: 512 / elements * size)
      let first = Kernels.with(variant) {
        lmoe_quantize(Int32(scheme.rawValue), elements, values, nil, 512, &blocks)
      }
      #expect(first == expected, "\(scheme.name) \(large)")
    }
  }
}

@Test func geometriesAreThoseOfTheKernels() throws {
  let known: [BlockGeometry] = [
    .q4_0, .q8_0, .q4K, .q6K, .nf4, try #require(.i8Row(77)), try #require(.i4Group(32)),
    try #require(.i4Group(64)), try #require(.i4Group(128)),
  ]
  for geometry in known {
    #expect(geometry.decodable?.name == geometry.name)
    #expect(
      lmoe_block_bytes(Int32(geometry.scheme), Int(geometry.blockElements)) == Int(geometry.blockBytes))
  }
  // The same bytes otherwise divided, or otherwise laid out, are something else.
  let strange = try #require(
    BlockGeometry(scheme: 8, blockElements: 32, layout: .rows, fields: [32, 2]))
  let flat = try #require(BlockGeometry(scheme: 8, blockElements: 32, layout: .flat, fields: [2, 32]))
  #expect(strange.decodable == nil && flat.decodable == nil)
  #expect(BlockGeometry.i8Row(65_533) == nil && BlockGeometry.i4Group(16) == nil)
}
