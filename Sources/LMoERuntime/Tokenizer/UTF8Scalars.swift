extension [UInt8] {
  /// Appends the UTF-8 of a scalar; of what is none, that of the replacement character.
  mutating func append(scalar: UInt32) {
    append(contentsOf: UTF8.encode(Unicode.Scalar(scalar) ?? "\u{FFFD}") ?? UTF8.encodedReplacementCharacter)
  }

  /// Whether `other` stands at `index`.
  func has(_ other: [UInt8], at index: Int) -> Bool {
    guard index >= 0, other.count <= count - index else { return false }
    for offset in 0..<other.count where self[index + offset] != other[offset] { return false }
    return true
  }

  /// Where `other` stands first in `range`; nil if nowhere, or if it is empty.
  func firstIndex(of other: [UInt8], in range: Range<Int>) -> Int? {
    guard let first = other.first, range.count >= other.count else { return nil }
    for index in range.lowerBound...range.upperBound - other.count
    where self[index] == first && has(other, at: index) {
      return index
    }
    return nil
  }

  /// The scalar that starts at `index` of valid UTF-8, and its length in bytes.
  func scalar(at index: Int) -> (value: UInt32, length: Int) {
    let lead = UInt32(self[index])
    if lead < 0x80 { return (lead, 1) }
    func tail(_ offset: Int) -> UInt32 {
      index + offset < count ? UInt32(self[index + offset] & 0x3F) : 0
    }
    if lead < 0xE0 { return ((lead & 0x1F) << 6 | tail(1), 2) }
    if lead < 0xF0 { return ((lead & 0x0F) << 12 | tail(1) << 6 | tail(2), 3) }
    return ((lead & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4)
  }

  /// Where the scalar that ends before `index` of valid UTF-8 starts.
  func scalarStart(before index: Int) -> Int {
    var start = index - 1
    while start > 0, self[start] & 0xC0 == 0x80 { start -= 1 }
    return start
  }
}
