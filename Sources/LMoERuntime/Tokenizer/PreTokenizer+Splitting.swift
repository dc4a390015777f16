/// Splitting words further.
extension PreTokenizer.Words {
  /// A part of a word, and whether it is what the word is split by.
  typealias Part = (range: Range<Int>, isMatch: Bool)

  /// Splits every word as a known regular expression does.
  mutating func scan(_ pattern: WordPattern) {
    var output: [Range<Int>] = []
    output.reserveCapacity(text.count / 4)
    for range in ranges {
      let scanner = WordScanner(pattern, text, end: range.upperBound)
      var start = range.lowerBound
      while start < range.upperBound {
        let end = scanner.wordEnd(from: start)
        output.append(start..<end)
        start = end
      }
    }
    ranges = output
  }

  /// Splits every word into the parts that `parts` finds, which cover it, and joins or drops them.
  mutating func split(_ behavior: PreTokenizer.Behavior, _ parts: ([UInt8], Range<Int>) -> [Part]) {
    ranges = ranges.flatMap { Self.joined(parts(text, $0), behavior) }
  }

  private static func joined(_ parts: [Part], _ behavior: PreTokenizer.Behavior) -> [Range<Int>] {
    var output: [Range<Int>] = []
    output.reserveCapacity(parts.count)
    var previous = false
    func extend(_ range: Range<Int>) {
      if let last = output.popLast() {
        output.append(
          min(last.lowerBound, range.lowerBound)..<max(last.upperBound, range.upperBound))
      } else {
        output.append(range)
      }
    }
    switch behavior {
    case .isolated: return parts.map(\.range)
    case .removed: return parts.filter { !$0.isMatch }.map(\.range)
    case .contiguous:
      for (range, isMatch) in parts {
        if isMatch == previous { extend(range) } else { output.append(range) }
        previous = isMatch
      }
    case .mergedWithPrevious:
      for (range, isMatch) in parts {
        if isMatch && !previous { extend(range) } else { output.append(range) }
        previous = isMatch
      }
    case .mergedWithNext:
      for (range, isMatch) in parts.reversed() {
        if isMatch && !previous { extend(range) } else { output.append(range) }
        previous = isMatch
      }
      output.reverse()
    }
    return output
  }

  /// Where a text stands in a word, and what is between.
  static func occurrences(
    of pattern: [UInt8], in text: [UInt8], _ word: Range<Int>, _ isInverted: Bool
  ) -> [Part] {
    var output: [Part] = []
    var start = word.lowerBound
    while let found = text.firstIndex(of: pattern, in: start..<word.upperBound) {
      if found > start { output.append((start..<found, isInverted)) }
      start = found + pattern.count
      output.append((found..<start, !isInverted))
    }
    if start < word.upperBound { output.append((start..<word.upperBound, isInverted)) }
    return output
  }

  /// Each digit of a word, and what is between.
  static func digits(in text: [UInt8], _ word: Range<Int>) -> [Part] {
    let classes = ScalarClasses.all
    var output: [Part] = []
    var start = word.lowerBound
    var index = start
    while index < word.upperBound {
      let (scalar, length) = text.scalar(at: index)
      if classes[scalar].isAny(of: .digit) {
        if index > start { output.append((start..<index, false)) }
        output.append((index..<index + length, true))
        start = index + length
      }
      index += length
    }
    if start < word.upperBound { output.append((start..<word.upperBound, false)) }
    return output
  }

  /// Rewrites every word; `body` gets its number and its bytes.
  mutating func rewrite(_ body: (Int, ArraySlice<UInt8>) -> [UInt8]) {
    var output: [UInt8] = []
    output.reserveCapacity(text.count + text.count / 4)
    for (index, range) in ranges.enumerated() {
      let start = output.count
      output += body(index, text[range])
      ranges[index] = start..<output.count
    }
    text = output
  }

  mutating func replaceSpaces(
    _ replacement: [UInt8], _ scheme: PreTokenizer.PrependScheme, isFirst: Bool
  ) {
    // Only the word at the very start of the whole text is first.
    let start = ranges.first?.lowerBound == 0 && isFirst
    rewrite { index, word in
      let word = Array(word).replacing([0x20], with: replacement)
      let isPrefixed = word.has(replacement, at: 0)
      let prepends = scheme == .always || (scheme == .first && start && index == 0)
      return prepends && !isPrefixed ? replacement + word : word
    }
  }
}
