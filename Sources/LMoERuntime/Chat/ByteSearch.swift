/// Finds a byte string in others, in time linear in both.
struct ByteSearch {
  let pattern: [UInt8]
  /// How much of the pattern still fits where the next byte does not.
  private let fallback: [Int]

  init(_ text: String) { self.init(Array(text.utf8)) }

  /// For a search from the end.
  init(reversing text: String) { self.init(Array(text.utf8.reversed())) }

  private init(_ pattern: [UInt8]) {
    self.pattern = pattern
    var fallback = [Int](repeating: 0, count: max(1, pattern.count))
    var length = 0
    for index in pattern.indices.dropFirst() {
      while length > 0, pattern[index] != pattern[length] { length = fallback[length - 1] }
      if pattern[index] == pattern[length] { length += 1 }
      fallback[index] = length
    }
    self.fallback = fallback
  }

  /// Where the pattern begins first at or after `start`.
  func first(in bytes: [UInt8], from start: Int) -> Int? {
    guard !pattern.isEmpty else { return start <= bytes.count ? start : nil }
    var matched = 0
    var index = start
    while index < bytes.count {
      while matched > 0, bytes[index] != pattern[matched] { matched = fallback[matched - 1] }
      if bytes[index] == pattern[matched] { matched += 1 }
      index += 1
      if matched == pattern.count { return index - matched }
    }
    return nil
  }

  /// Where it stands, one behind the other, at most `limit` times.
  func all(in bytes: [UInt8], limit: Int = .max) -> [Int] {
    var result: [Int] = []
    var start = 0
    while result.count < limit, !pattern.isEmpty, let place = first(in: bytes, from: start) {
      result.append(place)
      start = place + pattern.count
    }
    return result
  }
}
