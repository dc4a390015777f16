#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// A text compared by its UTF-8 bytes: a tensor, bank or vocabulary name.
///
/// `String` compares by canonical equivalence, which would merge `"é"` with `"e\u{301}"`; names in model
/// files are byte strings.
public struct ByteKey: Hashable, Comparable, Sendable, CustomStringConvertible,
  ExpressibleByStringLiteral
{
  /// The text.
  public let text: String

  /// Makes a key of `text`.
  public init(_ text: String) { self.text = text }

  /// Makes a key of a literal.
  public init(stringLiteral value: String) { text = value }

  /// The text itself.
  public var description: String { text }

  /// Whether both have the same bytes.
  public static func == (left: ByteKey, right: ByteKey) -> Bool {
    left.text.hasSameBytes(as: right.text)
  }

  /// Byte order.
  public static func < (left: ByteKey, right: ByteKey) -> Bool {
    left.text.order(beside: right.text) < 0
  }

  /// Feeds the bytes.
  public func hash(into hasher: inout Hasher) {
    let isDone: Void? = unsafe text.utf8.withContiguousStorageIfAvailable {
      unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0))
    }
    guard isDone == nil else { return }
    var text = text
    text.withUTF8 { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }
}

extension String {
  /// Whether both texts have the same UTF-8 bytes.
  public func hasSameBytes(as other: String) -> Bool {
    // Equal counts first: it settles most comparisons.
    utf8.count == other.utf8.count && order(beside: other) == 0
  }

  /// Below, at or above 0: the order of the bytes of both texts.
  fileprivate func order(beside other: String) -> Int {
    let order: Int?? = unsafe utf8.withContiguousStorageIfAvailable { mine in
      unsafe other.utf8.withContiguousStorageIfAvailable { theirs in
        let count = min(mine.count, theirs.count)
        if count > 0, let mine = mine.baseAddress, let theirs = theirs.baseAddress {
          let order = unsafe memcmp(mine, theirs, count)
          if order != 0 { return Int(order) }
        }
        return mine.count - theirs.count
      }
    }
    if let order, let order { return order }
    if utf8.elementsEqual(other.utf8) { return 0 }
    return utf8.lexicographicallyPrecedes(other.utf8) ? -1 : 1
  }

  /// The text with control characters made visible, for messages: names in files are hostile.
  ///
  /// C0 controls become their pictures (ESC is `␛`), DEL `␡`, and C1 controls, bidirectional overrides and
  /// line separators `\u{…}`.
  public var printable: String {
    var result = ""
    for scalar in unicodeScalars {
      switch scalar.value {
      case 0..<0x20:
        if let picture = Unicode.Scalar(0x2400 + scalar.value) { result.unicodeScalars.append(picture) }
      case 0x7F: result += "␡"
      case 0x80...0x9F, 0x061C, 0x200E...0x200F, 0x2028...0x202E, 0x2066...0x2069:
        result += "\\u{\(String(scalar.value, radix: 16))}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
