/// A step of a decoder at work on a stream of tokens.
struct DecoderStage: Sendable {
  private let step: TokenDecoder.Step
  /// Whether what comes in are parts of one text, not tokens.
  var isFused = false
  /// What is held back.
  private var held: [UInt8] = []
  /// Whether something has come in.
  private var hasBegun = false
  /// How much may still be stripped at the start.
  private var strips = 0

  init(_ step: TokenDecoder.Step) {
    self.step = step
    if case .strip(_, let start, _) = step { strips = start }
  }

  /// Whether what goes out are parts of one text, whatever comes in.
  var joinsTokens: Bool { step == .byteLevel || step == .fuse || step == .spaced }

  /// Takes a token's text, or a part of the text, and gives what is certain.
  mutating func push(_ text: [UInt8], _ emit: ([UInt8]) -> Void) {
    switch step {
    case .spaced: emit(hasBegun ? [0x20] + text : text)
    case .byteLevel:
      held += ByteAlphabet.decoded(text)
      emitWholeCharacters(emit)
    case .byteFallback: pushFallback(text, emit)
    case .fuse: emit(text)
    case .replace(let old, let new): pushReplacing(text, old, new, emit)
    case .strip(let character, let start, let stop):
      if isFused {
        pushStripping(text, character, stop, emit)
      } else {
        emit(Self.stripped(text, character, start, stop))
      }
    case .metaspace(let mark, let dropsFirst):
      emit(text.replacing(mark, with: dropsFirst && (isFused || !hasBegun) ? [] : [0x20]))
    }
    hasBegun = true
  }

  /// Gives what was held back.
  mutating func finish(_ emit: ([UInt8]) -> Void) {
    switch step {
    case .byteLevel: if !held.isEmpty { emit(Array(String(decoding: held, as: UTF8.self).utf8)) }
    case .byteFallback: emitRun(emit)
    case .replace: if !held.isEmpty { emit(held) }
    case .strip(let character, _, let stop): emit(Self.stripped(held, character, 0, stop))
    default: break
    }
    held = []
  }

  /// Gives all but the last character, if that is not whole; what is no character becomes U+FFFD.
  private mutating func emitWholeCharacters(_ emit: ([UInt8]) -> Void) {
    let end = held.incompleteTail
    guard end > 0 else { return }
    emit(Array(String(decoding: held[..<end], as: UTF8.self).utf8))
    held.removeFirst(end)
  }

  private mutating func pushFallback(_ text: [UInt8], _ emit: ([UInt8]) -> Void) {
    if let byte = Self.byte(text) {
      held.append(byte)
    } else {
      emitRun(emit)
      emit(text)
    }
  }

  /// A run of bytes is text as a whole, or every byte of it is U+FFFD.
  private mutating func emitRun(_ emit: ([UInt8]) -> Void) {
    guard !held.isEmpty else { return }
    if String(validating: held, as: UTF8.self) != nil {
      emit(held)
    } else {
      for _ in held { emit(Array("\u{FFFD}".utf8)) }
    }
    held = []
  }

  /// The byte of `<0x0A>`.
  static func byte(_ token: [UInt8]) -> UInt8? {
    guard token.count == 6, token.starts(with: Array("<0x".utf8)), token[5] == UInt8(ascii: ">") else {
      return nil
    }
    return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
  }

  private mutating func pushReplacing(
    _ text: [UInt8], _ old: [UInt8], _ new: [UInt8], _ emit: ([UInt8]) -> Void
  ) {
    guard isFused else { return emit(text.replacing(old, with: new)) }
    held += text
    var output: [UInt8] = []
    var start = 0
    while let found = held.firstIndex(of: old, in: start..<held.count) {
      output += held[start..<found] + new
      start = found + old.count
    }
    // The end may be the beginning of another.
    var end = max(start, held.count - old.count + 1)
    while end < held.count, !old.starts(with: held[end...]) { end += 1 }
    output += held[start..<end]
    held.removeFirst(end)
    if !output.isEmpty { emit(output) }
  }

  private mutating func pushStripping(
    _ text: [UInt8], _ character: [UInt8], _ stop: Int, _ emit: ([UInt8]) -> Void
  ) {
    held += text
    var start = 0
    while strips > 0, start < held.count {
      guard held.has(character, at: start) else {
        strips = 0
        break
      }
      strips -= 1
      start += character.count
    }
    var end = held.count
    var count = 0
    while count < stop, end - character.count >= start, held.has(character, at: end - character.count) {
      end -= character.count
      count += 1
    }
    if end > start { emit(Array(held[start..<end])) }
    held = Array(held[end...])
  }

  private static func stripped(_ text: [UInt8], _ character: [UInt8], _ start: Int, _ stop: Int) -> [UInt8] {
    var first = 0
    for _ in 0..<start {
      guard text.has(character, at: first) else { break }
      first += character.count
    }
    var end = text.count
    for _ in 0..<stop {
      guard end - character.count >= first, text.has(character, at: end - character.count) else { break }
      end -= character.count
    }
    return Array(text[first..<end])
  }
}

extension [UInt8] {
  /// Where a character starts that may become whole with more bytes; the count, if all are whole or wrong.
  fileprivate var incompleteTail: Int {
    for length in 1...3 where length <= count {
      let lead = self[count - length]
      if lead & 0xC0 == 0x80 { continue }
      guard (0xC2...0xF4).contains(lead) else { return count }
      let needed = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4
      guard length < needed else { return count }
      if length > 1 {
        // Some second bytes can never be right.
        let second = self[count - length + 1]
        let isPossible =
          switch lead {
          case 0xE0: second >= 0xA0
          case 0xED: second < 0xA0
          case 0xF0: second >= 0x90
          case 0xF4: second < 0x90
          default: true
          }
        if !isPossible { return count }
      }
      return count - length
    }
    return count
  }
}
