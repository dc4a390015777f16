import LMoECore

/// How much room text takes in a terminal.
extension String {
  /// Columns: wide characters take two, marks none.
  var displayWidth: Int { reduce(0) { $0 + $1.displayWidth } }

  /// The text with spaces up to a width.
  func padded(to width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - displayWidth))
  }

  /// The text, its beginning replaced by an ellipsis where it is wider than `width`.
  func cutAtStart(to width: Int) -> String {
    String(String(reversed()).cut(to: width).reversed())
  }

  /// The text, its end replaced by an ellipsis where it is wider than `width`.
  func cut(to width: Int) -> String {
    guard displayWidth > width, width > 0 else { return self }
    var result = ""
    var used = 0
    for character in self {
      guard used + character.displayWidth < width else { break }
      result.append(character)
      used += character.displayWidth
    }
    return result + "…"
  }
}

/// Parts of a list in as few lines of `width` as they fit in, control characters shown.
func wrapped(_ parts: [String], to width: Int) -> [String] {
  inLines(
    parts.enumerated().map { $0.element.printable + ($0.offset < parts.count - 1 ? "," : "") }, to: width)
}

/// A sentence in as few lines of `width` as its words fit in, control characters shown.
func wrapped(_ sentence: String, to width: Int) -> [String] {
  inLines(sentence.printable.split(separator: " ").map(String.init), to: width)
}

private func inLines(_ parts: [String], to width: Int) -> [String] {
  var lines: [String] = []
  for part in parts {
    let part = part.cut(to: width)
    if let last = lines.last, last.displayWidth + 1 + part.displayWidth <= width {
      lines[lines.count - 1] = last + " " + part
    } else {
      lines.append(part)
    }
  }
  return lines
}

extension Character {
  /// Columns of a character, by its first scalar (Unicode's East Asian wide ranges and emoji).
  fileprivate var displayWidth: Int {
    guard let scalar = unicodeScalars.first else { return 0 }
    switch scalar.properties.generalCategory {
    case .nonspacingMark, .enclosingMark, .format: return 0
    default: break
    }
    switch scalar.value {
    case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF,
      0xA000...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE4F, 0xFF00...0xFF60, 0xFFE0...0xFFE6,
      0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
      return 2
    default: return 1
    }
  }
}
