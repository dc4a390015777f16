import LMoECore

/// Fixed-offset fields of a record.
///
/// The caller has checked that the record is long enough.
struct Fields {
  let bytes: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }
  init(_ bytes: [UInt8]) { self.bytes = bytes[...] }

  private func integer<Value: FixedWidthInteger & UnsignedInteger>(_ offset: Int, _: Value.Type) -> Value {
    var value: Value = 0
    let start = bytes.startIndex + offset
    for index in (0..<Value.bitWidth / 8).reversed() { value = value << 8 | Value(bytes[start + index]) }
    return value
  }

  func u8(_ offset: Int) -> UInt8 { bytes[bytes.startIndex + offset] }
  func u16(_ offset: Int) -> UInt16 { integer(offset, UInt16.self) }
  func u32(_ offset: Int) -> UInt32 { integer(offset, UInt32.self) }
  func u64(_ offset: Int) -> UInt64 { integer(offset, UInt64.self) }

  func bits128(_ offset: Int) -> Bits128 {
    Bits128(
      high: integer(offset, UInt64.self).byteSwapped, low: integer(offset + 8, UInt64.self).byteSwapped)
  }

  func slice(_ offset: Int, _ count: Int) -> ArraySlice<UInt8> {
    bytes[bytes.startIndex + offset..<bytes.startIndex + offset + count]
  }

  func isZero(_ range: Range<Int>) -> Bool { slice(range.lowerBound, range.count).allSatisfy { $0 == 0 } }
}

extension [UInt8] {
  mutating func append(little value: some FixedWidthInteger & UnsignedInteger) {
    for shift in stride(from: 0, to: value.bitWidth, by: 8) {
      append(UInt8(truncatingIfNeeded: value >> shift))
    }
  }

  mutating func append(_ bits: Bits128) { append(contentsOf: bits.bytes) }

  mutating func append(zeros count: Int) { append(contentsOf: repeatElement(0, count: count)) }
}
