/// Canonical decomposition and composition (NFD and NFC).
///
/// Swift's own would know other versions of Unicode than the library that tokenizers come from.
struct CanonicalForms: Sendable {
  /// Made on first use.
  static let all = CanonicalForms()

  /// One step each; the second is nil where there is only one.
  private let decompositions: [UInt32: (first: UInt32, second: UInt32?)]
  /// The scalar that a pair makes, by first << 32 | second.
  private let compositions: [UInt64: UInt32]
  private let combiningClasses: [UInt32: UInt8]
  /// What may change under composition: marks, second halves, and what is never composed again.
  private let unstable: Set<UInt32>

  private init() {
    var decompositions: [UInt32: (UInt32, UInt32?)] = [:]
    var compositions: [UInt64: UInt32] = [:]
    var unstable: Set<UInt32> = []
    var reader = TableReader(UnicodeData.decompositions)
    var scalar: UInt32 = 0
    repeat {
      let isExcluded = reader.skip(UInt8(ascii: "!"))
      guard let gap = reader.number(), reader.skip(UInt8(ascii: " ")), let first = reader.number() else {
        break
      }
      scalar += gap
      let second = reader.skip(UInt8(ascii: " ")) ? reader.number() : nil
      decompositions[scalar] = (first, second)
      if let second, !isExcluded {
        compositions[UInt64(first) << 32 | UInt64(second)] = scalar
        unstable.insert(second)
      } else {
        unstable.insert(scalar)
      }
    } while reader.skip(UInt8(ascii: ","))

    var classes: [UInt32: UInt8] = [:]
    reader = TableReader(UnicodeData.combiningClasses)
    var end: UInt32 = 0
    repeat {
      guard let gap = reader.number(), reader.skip(UInt8(ascii: ":")), let number = reader.number(),
        let kind = UInt8(exactly: number)
      else { break }
      let length = reader.skip(UInt8(ascii: ":")) ? reader.number() ?? 1 : 1
      for scalar in end + gap..<end + gap + length {
        classes[scalar] = kind
        unstable.insert(scalar)
      }
      end += gap + length
    } while reader.skip(UInt8(ascii: ","))
    self.decompositions = decompositions
    self.compositions = compositions
    self.unstable = unstable
    combiningClasses = classes
  }

  /// The canonical decomposition (NFD).
  func decomposed(_ text: [UInt8]) -> [UInt8] {
    text.allSatisfy { $0 < 0x80 } ? text : written(ordered(text))
  }

  /// The canonical composition (NFC).
  func composed(_ text: [UInt8]) -> [UInt8] {
    isComposed(text) ? text : written(composed(ordered(text)))
  }

  /// Whether nothing in the text can change; most text is like that.
  private func isComposed(_ text: [UInt8]) -> Bool {
    // Nothing below U+0300 is unstable.
    if text.allSatisfy({ $0 < 0xCC }) { return true }
    return String(decoding: text, as: UTF8.self).unicodeScalars.allSatisfy {
      $0.value < 0x300 || !(unstable.contains($0.value) || Hangul.isSecond($0.value))
    }
  }

  private typealias Scalars = [(scalar: UInt32, kind: UInt8)]

  /// Decomposed, with the marks on each starter in order.
  private func ordered(_ text: [UInt8]) -> Scalars {
    var scalars: Scalars = []
    scalars.reserveCapacity(text.count)
    for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
      decompose(scalar.value) { scalars.append(($0, combiningClasses[$0] ?? 0)) }
    }
    var index = 0
    while index < scalars.count {
      guard scalars[index].kind > 0 else {
        index += 1
        continue
      }
      let end = scalars[index...].firstIndex { $0.kind == 0 } ?? scalars.count
      // Swift's sort is stable.
      scalars[index..<end].sort { $0.kind < $1.kind }
      index = end
    }
    return scalars
  }

  private func decompose(_ scalar: UInt32, _ body: (UInt32) -> Void) {
    if let parts = Hangul.decomposed(scalar) { return parts.forEach(body) }
    guard let (first, second) = decompositions[scalar] else { return body(scalar) }
    decompose(first, body)
    if let second { decompose(second, body) }
  }

  private func composed(_ scalars: Scalars) -> Scalars {
    var starter: Int?
    var kept: Scalars = []
    kept.reserveCapacity(scalars.count)
    for (scalar, kind) in scalars {
      // Only what stands next to the starter, or is separated by marks of lower classes alone, composes.
      if let place = starter, let last = kept.last,
        place == kept.count - 1 || (last.kind != 0 && last.kind < kind),
        let composed = Hangul.composed(kept[place].scalar, scalar)
          ?? compositions[UInt64(kept[place].scalar) << 32 | UInt64(scalar)]
      {
        kept[place].scalar = composed
        continue
      }
      kept.append((scalar, kind))
      if kind == 0 { starter = kept.count - 1 }
    }
    return kept
  }

  private func written(_ scalars: Scalars) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(scalars.count * 3)
    for (scalar, _) in scalars { output.append(scalar: scalar) }
    return output
  }
}

/// The arithmetic of Korean syllables.
enum Hangul {
  private static let syllables: UInt32 = 0xAC00
  private static let initials: UInt32 = 0x1100
  private static let vowels: UInt32 = 0x1161
  private static let finals: UInt32 = 0x11A7

  private static func isVowel(_ scalar: UInt32) -> Bool { scalar >= vowels && scalar < vowels + 21 }
  private static func isFinal(_ scalar: UInt32) -> Bool { scalar > finals && scalar < finals + 28 }

  /// Whether it may compose with what stands before it.
  static func isSecond(_ scalar: UInt32) -> Bool { isVowel(scalar) || isFinal(scalar) }

  /// The parts of a syllable; nil if it is none.
  static func decomposed(_ scalar: UInt32) -> [UInt32]? {
    guard scalar >= syllables, scalar < syllables + 19 * 21 * 28 else { return nil }
    let index = scalar - syllables
    let parts = [initials + index / (21 * 28), vowels + index % (21 * 28) / 28]
    return index % 28 == 0 ? parts : parts + [finals + index % 28]
  }

  /// The syllable of an initial and a vowel, or of a syllable without a final and a final.
  static func composed(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if first >= initials, first < initials + 19, isVowel(second) {
      return syllables + ((first - initials) * 21 + second - vowels) * 28
    }
    if first >= syllables, first < syllables + 19 * 21 * 28, (first - syllables) % 28 == 0, isFinal(second) {
      return first + second - finals
    }
    return nil
  }
}
