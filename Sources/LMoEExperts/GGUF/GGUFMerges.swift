import LMoECore

/// Merges that join what llama.cpp joins by scores.
///
/// It joins the two neighbours whose token has the highest score, the leftmost first: so every way to make a
/// token of two others is a merge, and merges are in the order of the scores.
enum GGUFMerges {
  /// The longest token that is taken apart.
  private static let longest = 256

  /// - Throws: `Missing` where tokens of the same score could be joined: the order of merges knows no ties.
  static func merges(
    _ texts: [String], _ types: [GGUFTokenizer.TokenType], scores: [Double]
  ) throws(GGUFText.Missing) -> [(left: String, right: String)] {
    let known = Set(
      texts.indices.filter { types[$0] != .byte && types[$0] != .unused }.map { ByteKey(texts[$0]) })
    var made: [(number: Int, pairs: [(left: String, right: String)])] = []
    for (number, text) in texts.enumerated() where types[number] == .normal || types[number] == .userDefined {
      let scalars = Array(text.unicodeScalars)
      guard scalars.count > 1, scalars.count <= longest else { continue }
      var pairs: [(left: String, right: String)] = []
      for cut in (1..<scalars.count).reversed() {
        let left = String(String.UnicodeScalarView(scalars[..<cut]))
        let right = String(String.UnicodeScalarView(scalars[cut...]))
        if known.contains(ByteKey(left)), known.contains(ByteKey(right)) { pairs.append((left, right)) }
      }
      if !pairs.isEmpty { made.append((number, pairs)) }
    }
    made.sort { (-scores[$0.number], $0.number) < (-scores[$1.number], $1.number) }
    for (first, second) in zip(made, made.dropFirst()) where scores[first.number] == scores[second.number] {
      throw GGUFText.Missing(
        why:
          "the tokens \"\(texts[first.number].shortened)\" and \"\(texts[second.number].shortened)\" have the same score"
      )
    }
    return made.flatMap(\.pairs)
  }
}
