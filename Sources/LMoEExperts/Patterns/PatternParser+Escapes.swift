/// Classes in brackets and what follows a backslash.
extension PatternParser {
  mutating func member(_ scalarClass: ScalarClass) -> PatternNode {
    classes.append(scalarClass)
    return PatternNode(.member(classes.count - 1))
  }

  mutating func scalarClass() throws(PatternError) -> PatternNode {
    let start = position
    position += 1
    let isNegated = skip("^")
    var ranges: [ClosedRange<UInt32>] = []
    var categories: ScalarClass.Categories = []
    func add(_ item: Escape) {
      switch item {
      case .scalar(let value): ranges.append(value...value)
      case .categories(let more): categories.formUnion(more)
      case .assertion: break
      }
    }
    var isFirst = true
    while let scalar = next {
      if scalar == "]" && !isFirst { break }
      isFirst = false
      let place = position
      let low = try classItem()
      guard skip("-") else {
        add(low)
        continue
      }
      if next == nil { break }
      if next == "]" {
        add(low)
        add(.scalar(0x2D))
        break
      }
      guard case .scalar(let lower) = low, case .scalar(let upper) = try classItem(), lower <= upper else {
        throw error("a bad range in a class", at: place)
      }
      ranges.append(lower...upper)
    }
    guard skip("]") else { throw error("a class that is not closed", at: start) }
    return member(ScalarClass(ranges, categories, isNegated: isNegated))
  }

  private mutating func classItem() throws(PatternError) -> Escape {
    if next == "\\" { return try escape(isInClass: true) }
    defer { position += 1 }
    return .scalar(text[position].value)
  }

  enum Escape {
    case scalar(UInt32)
    case categories(ScalarClass.Categories)
    case assertion(PatternAssertion)
  }

  mutating func escape(isInClass: Bool = false) throws(PatternError) -> Escape {
    let start = position
    position += 1
    guard let scalar = next else { throw error("a backslash at its end", at: start) }
    position += 1
    switch scalar {
    case "d": return .categories(.digit)
    case "D": return .categories(.notDigit)
    case "w": return .categories(.word)
    case "W": return .categories(.notWord)
    case "s": return .categories(.space)
    case "S": return .categories(.notSpace)
    case "b": return isInClass ? .scalar(0x08) : .assertion(.wordBoundary)
    case "B" where !isInClass: return .assertion(.noWordBoundary)
    case "A" where !isInClass: return .assertion(.start)
    case "Z" where !isInClass: return .assertion(.veryEnd)
    case "a": return .scalar(0x07)
    case "f": return .scalar(0x0C)
    case "n": return .scalar(0x0A)
    case "r": return .scalar(0x0D)
    case "t": return .scalar(0x09)
    case "v": return .scalar(0x0B)
    case "x": return .scalar(try hexadecimal(2, from: start))
    case "u": return .scalar(try hexadecimal(4, from: start))
    case "U": return .scalar(try hexadecimal(8, from: start))
    case "N": throw error("a character by its name", at: start)
    case "0"..."9": return .scalar(try octal(from: start, isInClass: isInClass))
    case "a"..."z", "A"..."Z": throw error("an unknown escape \\\(scalar)", at: start)
    default: return .scalar(scalar.value)
    }
  }

  private mutating func hexadecimal(_ count: Int, from start: Int) throws(PatternError) -> UInt32 {
    let digits = digits(16, limit: count)
    guard digits.count == count, digits.value <= 0x10FFFF else {
      throw error("an escape that is no character", at: start)
    }
    return UInt32(digits.value)
  }

  /// `\0`, `\012`, `\101`; in a class also `\1` and `\12`, which elsewhere are back references.
  private mutating func octal(from start: Int, isInClass: Bool) throws(PatternError) -> UInt32 {
    position = start + 1
    let isZero = next == "0"
    let digits = digits(8, limit: 3)
    guard isZero || isInClass || digits.count == 3 else { throw error("a back reference", at: start) }
    guard digits.count > 0, digits.value <= 0o377 else {
      throw error("an escape that is no character", at: start)
    }
    return UInt32(digits.value)
  }
}
