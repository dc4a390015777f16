/// Texts, one after another in one array.
struct TextList: Sendable {
  /// The bytes of all.
  var bytes: [UInt8] = []
  /// Where each starts, and where the last ends.
  private(set) var starts: [Int] = [0]

  /// How many there are.
  var count: Int { starts.count - 1 }

  /// Makes room for so many bytes, and for texts of at least eight on average.
  mutating func reserve(bytes count: Int) {
    bytes.reserveCapacity(count)
    starts.reserveCapacity(count / 8)
  }

  /// Makes one text of all bytes appended since the last.
  mutating func end() { starts.append(bytes.count) }

  /// Makes texts of all bytes from `start` on, which come after the last text: one up to each `separator`, which is left
  /// out, and one of what remains.
  mutating func split(from start: Int, at separator: UInt8) {
    var end = start
    for index in start..<bytes.count {
      if bytes[index] == separator {
        starts.append(end)
      } else {
        bytes[end] = bytes[index]
        end += 1
      }
    }
    bytes.removeLast(bytes.count - end)
    self.end()
  }

  /// Where a text is in `bytes`.
  func range(_ index: Int) -> Range<Int> { starts[index]..<starts[index + 1] }

  /// A text.
  subscript(index: Int) -> ArraySlice<UInt8> { bytes[range(index)] }
}

/// The tokens of a model, as bytes, found by their bytes or by their numbers.
struct Vocabulary: Sendable {
  private let tokens: TextList
  /// The number of each token.
  private let numbers: [Int]
  /// The place of the token of each number, or -1.
  private var places: [Int32]
  /// Open addressing: upper half of the hash, then place + 1; 0 where nothing is.
  private var slots: [UInt64]

  /// How many tokens there are.
  var count: Int { numbers.count }
  /// One more than the largest number.
  var numberLimit: Int { places.count }

  /// What stands in the way of using the tokens.
  enum Defect: Error {
    case duplicateToken(ArraySlice<UInt8>)
    case duplicateNumber(ArraySlice<UInt8>, ArraySlice<UInt8>, Int)
    case numberOutOfRange(ArraySlice<UInt8>, Int)
  }

  /// Makes the tokens findable.
  ///
  /// - Parameters:
  ///   - tokens: The tokens.
  ///   - numbers: The number of each.
  init(_ tokens: TextList, numbers: [Int]) throws(Defect) {
    self.tokens = tokens
    self.numbers = numbers
    // Numbers have gaps in some files, but a table must not be as large as a file says.
    let limit = min(numbers.count * 4 + 0x10000, Int(Int32.max))
    for (place, number) in numbers.enumerated() where number >= limit {
      throw .numberOutOfRange(tokens[place], number)
    }
    places = [Int32](repeating: -1, count: (numbers.max() ?? -1) + 1)
    var size = 16
    while size < numbers.count * 2 { size *= 2 }
    slots = [UInt64](repeating: 0, count: size)
    for (place, number) in numbers.enumerated() {
      if places[number] >= 0 {
        throw .duplicateNumber(tokens[Int(places[number])], tokens[place], number)
      }
      places[number] = Int32(place)
      let hash = ByteHash.hash(tokens.bytes, tokens.range(place))
      var slot = Int(truncatingIfNeeded: hash) & (size - 1)
      while slots[slot] != 0 {
        if slots[slot] >> 32 == hash >> 32,
          isToken(Int(slots[slot] & 0xFFFF_FFFF) - 1, tokens.bytes, tokens.range(place))
        {
          throw .duplicateToken(tokens[place])
        }
        slot = (slot + 1) & (size - 1)
      }
      slots[slot] = (hash & ~0xFFFF_FFFF) | UInt64(place + 1)
    }
  }

  /// The number of the token `range` of `text` spells.
  func number(of text: [UInt8], _ range: Range<Int>) -> Int? {
    let hash = ByteHash.hash(text, range)
    var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
    while slots[slot] != 0 {
      if slots[slot] >> 32 == hash >> 32 {
        let place = Int(slots[slot] & 0xFFFF_FFFF) - 1
        if isToken(place, text, range) { return numbers[place] }
      }
      slot = (slot + 1) & (slots.count - 1)
    }
    return nil
  }

  /// Whether the token with a number is what `range` of `text` spells.
  func hasToken(_ number: Int, _ text: [UInt8], _ range: Range<Int>) -> Bool {
    number < places.count && places[number] >= 0 && isToken(Int(places[number]), text, range)
  }

  /// The number of a token.
  func number(of token: [UInt8]) -> Int? { number(of: token, 0..<token.count) }

  private func isToken(_ place: Int, _ text: [UInt8], _ range: Range<Int>) -> Bool {
    let token = tokens.range(place)
    guard token.count == range.count else { return false }
    for offset in 0..<range.count
    where tokens.bytes[token.lowerBound + offset] != text[range.lowerBound + offset] {
      return false
    }
    return true
  }

  /// The bytes of the token with a number.
  func token(_ number: Int) -> ArraySlice<UInt8>? {
    guard places.indices.contains(number), places[number] >= 0 else { return nil }
    return tokens[Int(places[number])]
  }
}

/// A hash of bytes, seeded: files must not choose what collides.
enum ByteHash {
  private static let seed = UInt64.random(in: .min ... .max) | 1

  static func hash(_ bytes: [UInt8], _ range: Range<Int>) -> UInt64 {
    unsafe bytes.withUnsafeBytes { buffer in
      var hash = seed ^ UInt64(range.count)
      var index = range.lowerBound
      while index + 8 <= range.upperBound {
        let word = unsafe buffer.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        hash = mix(hash ^ word)
        index += 8
      }
      var rest: UInt64 = 0
      while index < range.upperBound {
        let byte = unsafe buffer[index]
        rest = rest << 8 | UInt64(byte)
        index += 1
      }
      return mix(hash ^ rest)
    }
  }

  /// Of a pair of numbers.
  static func hash(_ pair: UInt64) -> UInt64 { mix(seed ^ pair) }

  @inline(__always) private static func mix(_ value: UInt64) -> UInt64 {
    let product = value.multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
    return product.high ^ product.low
  }
}
