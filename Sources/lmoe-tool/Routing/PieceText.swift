import LMoECore

/// A part of a token's text, by how it is shown.
enum PieceText: Equatable, Sendable {
  /// Text without control characters.
  case text(String)
  /// A line feed.
  case newline
  /// A tabulator.
  case tab
  /// What stands for a control character.
  case control(String)
  /// A byte that belongs to no character.
  case byte(UInt8)

  /// How a stray byte is written: `\xE2`.
  static func escape(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16, uppercase: true)
    return "\\x" + (digits.utf8.count < 2 ? "0" : "") + digits
  }

  /// On one line, for lists and labels.
  var inline: String {
    switch self {
    case .text(let text): text
    case .newline: "↵"
    case .tab: "⇥"
    case .control(let picture): picture
    case .byte(let byte): Self.escape(byte)
    }
  }
}

/// Turns the bytes of tokens into text.
///
/// A character that is split over tokens comes with the token that completes it.
struct PieceDecoder: Sendable {
  /// The beginning of a character.
  private var pending: [UInt8] = []

  /// The text of one piece by itself, an incomplete character as bytes.
  static func inline(_ bytes: [UInt8]) -> String {
    var decoder = PieceDecoder()
    return (decoder.next(bytes) + decoder.end()).map(\.inline).joined()
  }

  /// The bytes that wait for the rest of their character.
  var held: [UInt8] { pending }

  /// What the next piece shows.
  mutating func next(_ piece: [UInt8]) -> [PieceText] {
    let bytes = pending + piece
    pending = []
    var parts: [PieceText] = []
    var text = ""
    func close() {
      if !text.isEmpty { parts.append(.text(text)) }
      text = ""
    }
    var index = 0
    while index < bytes.count {
      switch Self.character(bytes[index...]) {
      case .incomplete:
        pending = Array(bytes[index...])
        index = bytes.count
      case .invalid:
        close()
        parts.append(.byte(bytes[index]))
        index += 1
      case .valid(let count):
        let character = String(decoding: bytes[index..<index + count], as: UTF8.self)
        index += count
        if let control = Self.control(character) {
          close()
          parts.append(control)
        } else {
          text += character
        }
      }
    }
    close()
    return parts
  }

  /// What is left at the end of the text.
  mutating func end() -> [PieceText] {
    defer { pending = [] }
    return pending.map { .byte($0) }
  }

  private static func control(_ character: String) -> PieceText? {
    switch character {
    case "\n": return .newline
    case "\t": return .tab
    default:
      let shown = character.printable
      return shown.hasSameBytes(as: character) ? nil : .control(shown)
    }
  }

  private enum Character {
    case valid(Int)
    case incomplete
    case invalid
  }

  /// What `bytes` begin with.
  private static func character(_ bytes: ArraySlice<UInt8>) -> Character {
    guard let lead = bytes.first else { return .incomplete }
    let count: Int
    switch lead {
    case ..<0x80: return .valid(1)
    case 0xC2...0xDF: count = 2
    case 0xE0...0xEF: count = 3
    case 0xF0...0xF4: count = 4
    default: return .invalid
    }
    for (place, byte) in bytes.dropFirst().prefix(count - 1).enumerated() {
      // Overlong forms, surrogates and what is beyond Unicode show in the second byte.
      let range: ClosedRange<UInt8> =
        switch (place, lead) {
        case (0, 0xE0): 0xA0...0xBF
        case (0, 0xED): 0x80...0x9F
        case (0, 0xF0): 0x90...0xBF
        case (0, 0xF4): 0x80...0x8F
        default: 0x80...0xBF
        }
      if !range.contains(byte) { return .invalid }
    }
    return bytes.count < count ? .incomplete : .valid(count)
  }
}
