/// Why bytes are not the JSON that was expected, and where.
public struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong.
  public enum Reason: Hashable, Sendable {
    case unexpectedEnd
    case unexpectedByte(UInt8)
    case expected(String)
    case invalidNumber
    case invalidString
    case invalidUTF8
    case duplicateKey(String)
    case tooDeep(Int)
    case trailingBytes
  }

  /// Where, in bytes from the start of the text.
  public let offset: Int
  /// What is wrong.
  public let reason: Reason

  /// Makes an error of its facts.
  public init(_ reason: Reason, at offset: Int) {
    self.reason = reason
    self.offset = offset
  }

  /// The sentence, without the file's name.
  public var description: String {
    let what =
      switch reason {
      case .unexpectedEnd: "the text ends too early"
      case .unexpectedByte(let byte):
        (0x21...0x7E).contains(byte)
          ? "unexpected '\(Unicode.Scalar(byte))'" : "unexpected byte 0x\(String(byte, radix: 16))"
      case .expected(let what): "expected \(what)"
      case .invalidNumber: "not a number"
      case .invalidString: "invalid escape or control character in a string"
      case .invalidUTF8: "invalid UTF-8"
      case .duplicateKey(let key): "the key \"\(key.printable)\" stands twice in one object"
      case .tooDeep(let limit): "nested more than \(limit) deep"
      case .trailingBytes: "something follows the value"
      }
    return "\(what) (byte \(offset))"
  }
}
