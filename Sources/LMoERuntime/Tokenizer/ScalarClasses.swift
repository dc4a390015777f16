/// What a Unicode scalar is, as far as tokenizers ask.
struct ScalarClass: OptionSet, Sendable {
  let rawValue: UInt8

  /// Uppercase or titlecase letter.
  static let upper = ScalarClass(rawValue: 1)
  /// Lowercase letter.
  static let lower = ScalarClass(rawValue: 2)
  /// Letter without case, modifiers included.
  static let uncased = ScalarClass(rawValue: 4)
  /// Combining mark.
  static let mark = ScalarClass(rawValue: 8)
  /// Number to regular expressions (`\p{N}`).
  static let number = ScalarClass(rawValue: 16)
  /// Number to the pre-tokenizer Digits, which knows a newer Unicode.
  static let digit = ScalarClass(rawValue: 32)
  /// White space (`\s`).
  static let space = ScalarClass(rawValue: 64)
  /// Carriage return or line feed.
  static let newline = ScalarClass(rawValue: 128)

  /// Any letter (`\p{L}`).
  static let letter: ScalarClass = [.upper, .lower, .uncased]

  /// Whether it is one of `classes`.
  func isAny(of classes: ScalarClass) -> Bool { rawValue & classes.rawValue != 0 }
}

/// The classes of all scalars.
///
/// They are those of the library that trained tokenizers come from, not of this system's Unicode: a boundary
/// elsewhere would be another token.
struct ScalarClasses: Sendable {
  /// Made on first use.
  static let all = ScalarClasses(UnicodeData.classes)

  /// Of the scalars below 0x10000.
  private let basic: [UInt8]
  /// Where runs start beyond that, ascending, and their classes; what is in no run is in a run of class 0.
  private let starts: [UInt32]
  private let classes: [UInt8]

  /// Reads the table's text: `.gap` where a run does not follow the last, its letter, its length if not 1.
  init(_ table: StaticString) {
    var basic = [UInt8](repeating: 0, count: 0x10000)
    var starts: [UInt32] = [0]
    var classes: [UInt8] = [0]
    var end: UInt32 = 0
    var reader = TableReader(table)
    while let byte = reader.next() {
      if byte == UInt8(ascii: ".") {
        end += reader.number() ?? 0
        continue
      }
      let kind = Self.kind(byte)
      let length = reader.number() ?? 1
      for scalar in end..<min(end + length, max(end, 0x10000)) { basic[Int(scalar)] = kind }
      if end + length > 0x10000 {
        starts += [end, end + length]
        classes += [kind, 0]
      }
      end += length
    }
    basic[0x0A] |= ScalarClass.newline.rawValue
    basic[0x0D] |= ScalarClass.newline.rawValue
    self.basic = basic
    self.starts = starts
    self.classes = classes
  }

  private static func kind(_ letter: UInt8) -> UInt8 {
    let kind: ScalarClass =
      switch letter {
      case UInt8(ascii: "U"): .upper
      case UInt8(ascii: "D"): .lower
      case UInt8(ascii: "O"): .uncased
      case UInt8(ascii: "M"): .mark
      case UInt8(ascii: "N"): [.number, .digit]
      case UInt8(ascii: "R"): .digit
      default: .space
      }
    return kind.rawValue
  }

  /// The class of a scalar.
  subscript(scalar: UInt32) -> ScalarClass {
    if scalar < 0x10000 { return ScalarClass(rawValue: basic[Int(scalar)]) }
    // The last run that starts at or before it; of two at one place the later.
    var low = 0
    var high = starts.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if starts[middle] <= scalar { low = middle } else { high = middle }
    }
    return ScalarClass(rawValue: classes[low])
  }
}

/// Reads the tables of `UnicodeData`.
struct TableReader {
  private let bytes: [UInt8]
  private var position = 0

  init(_ table: StaticString) {
    bytes = unsafe Array(UnsafeBufferPointer(start: table.utf8Start, count: table.utf8CodeUnitCount))
  }

  /// The next byte, whatever it is.
  mutating func next() -> UInt8? {
    guard position < bytes.count else { return nil }
    position += 1
    return bytes[position - 1]
  }

  /// Passes over `byte`, if it is next.
  mutating func skip(_ byte: UInt8) -> Bool {
    guard position < bytes.count, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  /// The number in base 36 that starts here, if one does.
  mutating func number() -> UInt32? {
    var value: UInt32?
    while position < bytes.count {
      let digit: UInt32
      switch bytes[position] {
      case let byte where (0x30...0x39).contains(byte): digit = UInt32(byte) - 0x30
      case let byte where (0x61...0x7A).contains(byte): digit = UInt32(byte) - 0x61 + 10
      default: return value
      }
      value = (value ?? 0) &* 36 &+ digit
      position += 1
    }
    return value
  }
}
