/// The characters that byte-level tokenizers write bytes as: printable ones as themselves, the others as
/// characters from U+0100 up.
enum ByteAlphabet {
  /// The scalar of each byte.
  static let scalars: [UInt32] = {
    var next: UInt32 = 0x100
    return (0..<256).map { (byte: UInt32) in
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return byte
      default:
        defer { next += 1 }
        return next
      }
    }
  }()

  /// The UTF-8 of each byte's character.
  static let characters: [[UInt8]] = scalars.map { scalar in
    var bytes: [UInt8] = []
    bytes.append(scalar: scalar)
    return bytes
  }

  private static let bytes: [UInt32: UInt8] = Dictionary(
    uniqueKeysWithValues: scalars.enumerated().map { ($1, UInt8(truncatingIfNeeded: $0)) })

  /// The bytes a token stands for; those of its text, if it has other characters too.
  static func decoded(_ token: [UInt8]) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(token.count)
    var index = 0
    while index < token.count {
      let (scalar, length) = token.scalar(at: index)
      guard let byte = bytes[scalar] else { return token }
      output.append(byte)
      index += length
    }
    return output
  }
}
