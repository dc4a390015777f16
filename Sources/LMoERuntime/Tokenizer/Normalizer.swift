import LMoECore

/// What happens to text before it is split: steps, one after another.
struct Normalizer: Sendable {
  /// One step.
  enum Step: Hashable, Sendable {
    /// Puts a text in front of what is not empty.
    case prepend([UInt8])
    case replace([UInt8], with: [UInt8])
    case nfc
    case nfd
    case lowercase
    case strip(left: Bool, right: Bool)
  }

  let steps: [Step]

  /// Reads the section `normalizer`; null is no step.
  init(_ json: JSON?, path: String) throws(TokenizerError) {
    guard let json, !json.isNull else {
      steps = []
      return
    }
    steps = try Self.steps(json, path: path, place: "normalizer")
  }

  private static func steps(_ json: JSON, path: String, place: String) throws(TokenizerError) -> [Step] {
    var reader = try ComponentReader(json, path: path, place: place)
    let steps: [Step]
    switch reader.type {
    case "Sequence":
      var all: [Step] = []
      for (index, part) in try reader.array("normalizers").enumerated() {
        all += try self.steps(part, path: path, place: "\(place).normalizers[\(index)]")
      }
      steps = all
    case "Prepend": steps = [.prepend(Array(try reader.string("prepend").utf8))]
    case "Replace":
      let (text, regex) = try reader.literal("pattern")
      guard let text else { throw reader.unsupportedPattern(regex ?? "") }
      steps = [.replace(text, with: Array(try reader.string("content").utf8))]
    case "NFC": steps = [.nfc]
    case "NFD": steps = [.nfd]
    case "Lowercase": steps = [.lowercase]
    case "Strip":
      steps = [.strip(left: try reader.bool("strip_left"), right: try reader.bool("strip_right"))]
    default: throw reader.unsupportedType()
    }
    try reader.end()
    return steps
  }

  /// The text after all steps.
  func normalized(_ text: [UInt8]) -> [UInt8] {
    var text = text
    for step in steps { text = Self.apply(step, to: text) }
    return text
  }

  private static func apply(_ step: Step, to text: [UInt8]) -> [UInt8] {
    switch step {
    case .prepend(let prefix): text.isEmpty ? text : prefix + text
    case .replace(let old, let new): text.replacing(old, with: new)
    case .nfc: CanonicalForms.all.composed(text)
    case .nfd: CanonicalForms.all.decomposed(text)
    case .lowercase: lowercased(text)
    case .strip(let left, let right): stripped(text, left, right)
    }
  }

  /// Scalar by scalar, without regard to the ends of words.
  private static func lowercased(_ text: [UInt8]) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(text.count)
    for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
      if scalar.value < 0x80 {
        let byte = UInt8(truncatingIfNeeded: scalar.value)
        output.append((0x41...0x5A).contains(byte) ? byte | 0x20 : byte)
      } else {
        output += scalar.properties.lowercaseMapping.utf8
      }
    }
    return output
  }

  private static func stripped(_ text: [UInt8], _ left: Bool, _ right: Bool) -> [UInt8] {
    let classes = ScalarClasses.all
    var start = 0
    var end = text.count
    if left {
      while start < end {
        let (scalar, length) = text.scalar(at: start)
        guard classes[scalar].isAny(of: .space) else { break }
        start += length
      }
    }
    if right {
      while end > start {
        let before = text.scalarStart(before: end)
        guard classes[text.scalar(at: before).value].isAny(of: .space) else { break }
        end = before
      }
    }
    return Array(text[start..<max(start, end)])
  }
}

extension [UInt8] {
  /// The bytes with `old` replaced wherever it stands, from the left.
  func replacing(_ old: [UInt8], with new: [UInt8]) -> [UInt8] {
    guard var found = firstIndex(of: old, in: 0..<count) else { return self }
    var output: [UInt8] = []
    output.reserveCapacity(count + count / 4)
    var start = 0
    while true {
      output += self[start..<found]
      output += new
      start = found + old.count
      guard let next = firstIndex(of: old, in: start..<count) else { break }
      found = next
    }
    output += self[start...]
    return output
  }
}
