/// Looks for strings that end a text while it arrives in parts.
///
/// What may be the beginning of one is held back until it is clear.
public struct StopStrings: Sendable {
  private let strings: [[UInt8]]
  private var held: [UInt8] = []
  /// Whether one was found: the text ends before it.
  public private(set) var isFound = false

  /// Looks for `strings`; empty ones are ignored.
  public init(_ strings: [String]) { self.strings = strings.map { Array($0.utf8) }.filter { !$0.isEmpty } }

  /// Takes the next part of the text.
  ///
  /// - Returns: What belongs to the text for certain.
  public mutating func append(_ text: some Sequence<UInt8>) -> [UInt8] {
    guard !isFound else { return [] }
    held += text
    let places = strings.compactMap { Self.place(of: $0, in: held) }
    if let end = places.min() {
      isFound = true
      defer { held = [] }
      return Array(held[..<end])
    }
    let keep = strings.map { Self.overlap(held, with: $0) }.max() ?? 0
    defer { held.removeFirst(held.count - keep) }
    return Array(held.dropLast(keep))
  }

  /// What was held back, at the end of the text.
  public mutating func finish() -> [UInt8] {
    defer { held = [] }
    return held
  }

  private static func place(of string: [UInt8], in text: [UInt8]) -> Int? {
    guard text.count >= string.count else { return nil }
    return (0...text.count - string.count).first { text[$0..<$0 + string.count].elementsEqual(string) }
  }

  /// The length of the longest end of `text` that `string` begins with.
  private static func overlap(_ text: [UInt8], with string: [UInt8]) -> Int {
    (1..<max(1, min(text.count + 1, string.count))).last { text.suffix($0).elementsEqual(string.prefix($0)) }
      ?? 0
  }
}
