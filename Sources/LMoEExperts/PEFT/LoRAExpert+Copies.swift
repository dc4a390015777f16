import LMoECore
import LMoEFormat

extension LoRAExpert {
  /// Finds out which whole tensors are copies of the base's own: PEFT saves the embedding along when it is
  /// adapted, in the dtype that the base was loaded in.
  mutating func compare(with base: BaseDescription) throws(FormatError) {
    let places = Dictionary(
      tensors.map { (ByteKey($0.name), $0) }, uniquingKeysWith: { first, _ in first })
    for index in replacements.indices {
      let replacement = replacements[index]
      guard let stored = base.names.stored(replacement.tensor), let entry = base.entries[ByteKey(stored)],
        let placed = places[ByteKey(replacement.with)],
        placed.tensor.type.shape == entry.type.shape
      else { continue }
      let source = adapter.file.source(of: placed.tensor)
      let hash = try source.hash(of: placed.tensor.type, as: entry.type.dtype)
      replacements[index].isSame = hash == entry.hash
    }
  }
}

extension LoRAExpert {
  /// Says so where the two ends of a tied model have different factors although they were to be tied: PEFT then
  /// goes by the dtype that the base is loaded in.
  func noteOnTiedEnds() throws(FormatError) -> [String] {
    guard adapter.configuration.tiesWeights,
      let head = modules.first(where: { $0.name == "lm_head" && !$0.isEmbedding }),
      let embedding = modules.first(where: { $0.name == "model.embed_tokens" && $0.isEmbedding }),
      head.rank == embedding.rank
    else { return [] }
    let pairs = [(head.a, embedding.b), (embedding.a, head.b)]
    for (rows, columns) in pairs {
      let (first, second) = (try values(rows), try values(columns))
      let rank = head.rank
      let length = first.count / rank
      for index in first.indices where first[index] != second[index % length * rank + index / length] {
        return [
          "ensure_weight_tying is on, but the factors of embed_tokens and lm_head differ; each keeps its own, as in PEFT on a base that is not float32"
        ]
      }
    }
    return []
  }

  private func values(_ tensor: SafetensorsTensor) throws(FormatError) -> [Float] {
    guard let values = FloatValues(tensor.type.dtype) else { return [] }
    let buffer = RawBuffer(count: tensor.type.rawBytes)
    let bytes = unsafe buffer.prefix(tensor.type.rawBytes)
    try unsafe adapter.file.source(of: tensor).read(into: bytes, at: 0)
    return unsafe [Float](unsafeUninitializedCapacity: tensor.type.elementCount) { floats, count in
      count = tensor.type.elementCount
      unsafe values.convert(
        UnsafeRawBufferPointer(bytes), to: UnsafeMutableBufferPointer(rebasing: floats[..<count]))
    }
  }
}

extension ByteSource {
  /// XXH3-128 of a tensor's raw bytes as those of another dtype; nil if its values do not survive that.
  fileprivate func hash(of type: TensorType, as dtype: DType) throws(FormatError) -> Bits128? {
    let hash = StreamingHash()
    let buffer = RawBuffer(count: 1 << 20)
    var offset = 0
    while offset < type.rawBytes {
      let part = unsafe buffer.prefix(min(1 << 20, type.rawBytes - offset))
      try unsafe read(into: part, at: UInt64(offset))
      let bytes = UnsafeRawBufferPointer(part)
      if type.dtype == dtype {
        unsafe hash.update(bytes)
      } else {
        guard let converted = unsafe Self.exactly(bytes, type.dtype, as: dtype) else { return nil }
        hash.update(converted)
      }
      offset += part.count
    }
    return hash.digest
  }

  /// The values as BF16, F16 or F32, if each is one: nothing is rounded.
  private static func exactly(
    _ bytes: UnsafeRawBufferPointer, _ from: DType, as to: DType
  ) -> [UInt8]? {
    // A rounded F64 would look exact.
    guard from != .f64, let values = FloatValues(from), let width = from.elementBytes,
      [.bf16, .f16, .f32].contains(to)
    else { return nil }
    let count = bytes.count / width
    let floats = unsafe [Float](unsafeUninitializedCapacity: count) { floats, filled in
      unsafe values.convert(bytes, to: UnsafeMutableBufferPointer(rebasing: floats[..<count]))
      filled = count
    }
    var result: [UInt8] = []
    result.reserveCapacity(4 * count)
    for float in floats {
      let bits = float.bitPattern
      if to == .bf16 {
        guard bits & 0xFFFF == 0 else { return nil }
        result.append(UInt8(truncatingIfNeeded: bits >> 16))
        result.append(UInt8(truncatingIfNeeded: bits >> 24))
      } else if to == .f16 {
        guard let half = halfBits(bits) else { return nil }
        result.append(UInt8(truncatingIfNeeded: half))
        result.append(UInt8(truncatingIfNeeded: half >> 8))
      } else {
        for shift in [0, 8, 16, 24] as [UInt32] { result.append(UInt8(truncatingIfNeeded: bits >> shift)) }
      }
    }
    return result
  }
}

/// The bits of a finite float32 as an F16, if it is one.
private func halfBits(_ bits: UInt32) -> UInt16? {
  let sign = UInt16(truncatingIfNeeded: (bits >> 16) & 0x8000)
  let exponent = Int((bits >> 23) & 0xFF) - 127
  let fraction = bits & 0x7FFFFF
  if bits & 0x7FFF_FFFF == 0 { return sign }
  switch exponent {
  case -14...15:
    guard fraction & 0x1FFF == 0 else { return nil }
    return sign | UInt16(exponent + 15) << 10 | UInt16(fraction >> 13)
  case -24 ... -15:
    // Subnormal: a multiple of 2^-24.
    let shift = UInt32(-exponent - 1)
    let whole = fraction | 0x800000
    guard whole & ((1 << shift) - 1) == 0 else { return nil }
    return sign | UInt16(whole >> shift)
  default: return nil
  }
}
