private import CLMoEKernels

/// Sixteen bytes: an identifier or a 128-bit hash.
public struct Bits128: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// Bytes 0–7, big-endian.
  public let high: UInt64
  /// Bytes 8–15, big-endian.
  public let low: UInt64

  /// Makes it of its halves.
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// All zero.
  public static let zero = Bits128(high: 0, low: 0)

  /// Makes it of 32 hexadecimal digits; nil for anything else.
  public init?(hexadecimal text: String) {
    guard let parsed = LMoECore.bytes(hexadecimal: text), parsed.count == 16 else { return nil }
    self.init(
      high: parsed[..<8].reduce(0) { $0 << 8 | UInt64($1) },
      low: parsed[8...].reduce(0) { $0 << 8 | UInt64($1) })
  }

  /// Makes a random identifier.
  ///
  /// - Throws: `FileError` if the system's random source fails.
  public static func random() throws(FileError) -> Bits128 {
    var words: (UInt64, UInt64) = (0, 0)
    let code = unsafe withUnsafeMutableBytes(of: &words) {
      unsafe lmoe_random($0.baseAddress, $0.count)
    }
    guard code == 0 else { throw FileError(.random, path: "getrandom", code: code) }
    return Bits128(high: words.0, low: words.1 | 1)
  }

  /// The sixteen bytes in order.
  public var bytes: [UInt8] {
    [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) } }
  }

  /// 32 lower-case hexadecimal digits.
  public var description: String { hexadecimal(bytes) }

  /// Byte order.
  public static func < (left: Bits128, right: Bits128) -> Bool {
    (left.high, left.low) < (right.high, right.low)
  }
}
