/// Finds the ends of words in UTF-8 as a `WordPattern` has them.
///
/// Each function is one alternative of the regular expression and has its backtracking worked out.
struct WordScanner {
  private let pattern: WordPattern
  private let classes: ScalarClasses
  private let text: [UInt8]
  private let end: Int

  /// Scans `text` up to `end`; it must be valid UTF-8.
  init(_ pattern: WordPattern, _ text: [UInt8], end: Int) {
    self.pattern = pattern
    classes = .all
    self.text = text
    self.end = end
  }

  /// The end of the word that starts at `start`, which must be before the end of the text.
  func wordEnd(from start: Int) -> Int {
    let first = item(at: start)
    if text[start] == UInt8(ascii: "'"),
      pattern.contractions == .lowercase || pattern.contractions == .anyCase,
      let end = contraction(from: start)
    {
      return end
    }
    if let end = letters(from: start, first) { return end }
    if let end = numbers(from: start, first) { return end }
    if let end = others(from: start, first) { return end }
    return spaces(from: start, first)
  }

  private struct Item {
    let kind: ScalarClass
    let end: Int
  }

  /// The scalar at `index`.
  private func item(at index: Int) -> Item {
    let byte = text[index]
    if byte < 0x80 { return Item(kind: classes[UInt32(byte)], end: index + 1) }
    let (value, length) = text.scalar(at: index)
    return Item(kind: classes[value], end: min(index + length, end))
  }

  /// The end of the run of scalars of any of `kinds`.
  private func run(_ kinds: ScalarClass, from start: Int) -> Int {
    var index = start
    while index < end {
      let next = item(at: index)
      guard next.kind.isAny(of: kinds) else { break }
      index = next.end
    }
    return index
  }

  private func contraction(from start: Int) -> Int? {
    guard start + 1 < end else { return nil }
    let ignoresCase = pattern.contractions != .lowercase
    func letter(_ index: Int) -> UInt8? {
      guard index < end else { return nil }
      let byte = text[index]
      return ignoresCase && (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
    }
    switch letter(start + 1) {
    case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return start + 2
    case UInt8(ascii: "r"), UInt8(ascii: "v"):
      return letter(start + 2) == UInt8(ascii: "e") ? start + 3 : nil
    case UInt8(ascii: "l"): return letter(start + 2) == UInt8(ascii: "l") ? start + 3 : nil
    // Without regard to case, the long s is an s.
    case 0xC5 where ignoresCase && start + 2 < end && text[start + 2] == 0xBF: return start + 3
    default: return nil
    }
  }

  private func letters(from start: Int, _ first: Item) -> Int? {
    if pattern.splitsCase { return casedLetters(from: start, first) }
    if first.kind.isAny(of: .letter) { return run(.letter, from: first.end) }
    let isLead =
      switch pattern.lead {
      case .space: text[start] == 0x20
      case .any: !first.kind.isAny(of: [.number, .newline])
      }
    guard isLead, first.end < end else { return nil }
    let next = item(at: first.end)
    return next.kind.isAny(of: .letter) ? run(.letter, from: next.end) : nil
  }

  private static let upperLike: ScalarClass = [.upper, .uncased, .mark]
  private static let lowerLike: ScalarClass = [.lower, .uncased, .mark]

  /// Capitals, then at least one small letter; or at least one capital, then small letters: each tried with
  /// the lead first, then without.
  private func casedLetters(from start: Int, _ first: Item) -> Int? {
    let isLead = !first.kind.isAny(of: [.letter, .number, .newline]) && first.end < end
    var found = isLead ? capitalized(from: first.end) : nil
    found = found ?? capitalized(from: start)
    found = found ?? (isLead ? capitals(from: first.end) : nil)
    found = found ?? capitals(from: start)
    guard let word = found else { return nil }
    if pattern.contractions == .suffix, word < end, text[word] == UInt8(ascii: "'") {
      return contraction(from: word) ?? word
    }
    return word
  }

  private func capitalized(from start: Int) -> Int? {
    var index = start
    // Where the last scalar ends that may also be the small letter.
    var fallback: Int?
    while index < end {
      let next = item(at: index)
      guard next.kind.isAny(of: Self.upperLike) else {
        if next.kind.isAny(of: Self.lowerLike) { return run(Self.lowerLike, from: next.end) }
        break
      }
      index = next.end
      if next.kind.isAny(of: Self.lowerLike) { fallback = index }
    }
    return fallback
  }

  private func capitals(from start: Int) -> Int? {
    let upper = run(Self.upperLike, from: start)
    return upper > start ? run(Self.lowerLike, from: upper) : nil
  }

  private func numbers(from start: Int, _ first: Item) -> Int? {
    var index = start
    var next = first
    if pattern.lead == .space, text[start] == 0x20, first.end < end {
      index = first.end
      next = item(at: index)
    }
    guard next.kind.isAny(of: .number) else { return nil }
    var count = 1
    index = next.end
    while count < pattern.digits, index < end {
      next = item(at: index)
      guard next.kind.isAny(of: .number) else { break }
      index = next.end
      count += 1
    }
    return index
  }

  private func others(from start: Int, _ first: Item) -> Int? {
    let known: ScalarClass = [.space, .letter, .number]
    func isOther(_ kind: ScalarClass) -> Bool { !kind.isAny(of: known) }
    var index = start
    if text[start] == 0x20 {
      guard first.end < end, isOther(item(at: first.end).kind) else { return nil }
      index = first.end
    } else if !isOther(first.kind) {
      return nil
    }
    while index < end {
      let next = item(at: index)
      guard isOther(next.kind) else { break }
      index = next.end
    }
    guard pattern.absorbsNewlines else { return index }
    while index < end {
      let byte = text[index]
      guard
        byte == 0x0A || byte == 0x0D || (pattern.absorbsSlashes && byte == UInt8(ascii: "/"))
      else { break }
      index += 1
    }
    return index
  }

  /// White space: up to the last end of a line; or all but the last, which belongs to what follows.
  private func spaces(from start: Int, _ first: Item) -> Int {
    var index = start
    var last = start
    var lineEnd: Int?
    while index < end {
      let next = item(at: index)
      guard next.kind.isAny(of: .space) else { break }
      last = index
      index = next.end
      if next.kind.isAny(of: .newline) { lineEnd = index }
    }
    if pattern.splitsLines, let lineEnd { return lineEnd }
    if index == start { return first.end }
    return index == end || last == start ? index : last
  }
}
