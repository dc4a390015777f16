import LMoECore
import LMoEFormat

extension GGUFTokenizer {
  /// Scores by which llama.cpp joins the pairs that the merges join, in the same order.
  ///
  /// It joins any two neighbours that make a token, the token with the highest score first. So every such pair
  /// must be a merge, and all merges that make one token must stand together.
  ///
  /// - Throws: `ExpertError` with `not-exportable` where they do not.
  static func scores(
    _ texts: [String], _ types: [TokenType], merges: [(left: String, right: String)]
  ) throws(Conflict) -> [Float] {
    let numbers = Dictionary(
      texts.enumerated().map { (ByteKey($1), $0) }, uniquingKeysWith: { first, _ in first })
    var scores = [Float](repeating: -1e9, count: texts.count)
    var isMade = [Bool](repeating: false, count: texts.count)
    var pairs: Set<ByteKey> = []
    var last: Int?
    for (rank, merge) in merges.enumerated() {
      // No token holds a byte of zero.
      pairs.insert(ByteKey(merge.left + "\0" + merge.right))
      guard let made = numbers[ByteKey(merge.left + merge.right)] else {
        throw Conflict(what: "its merge \(rank) makes no token")
      }
      if made != last, isMade[made] {
        throw Conflict(what: "its merges make the token \"\(texts[made].shortened)\" in two places")
      }
      if !isMade[made] { scores[made] = -Float(rank) }
      isMade[made] = true
      last = made
    }
    for (number, text) in texts.enumerated() where types[number] == .normal || types[number] == .userDefined {
      try checkSplits(of: text, numbers, types, pairs)
    }
    return scores
  }

  /// Why no scores give the same tokens.
  struct Conflict: Error {
    let what: String
  }

  private static func checkSplits(
    of text: String, _ numbers: [ByteKey: Int], _ types: [TokenType], _ pairs: Set<ByteKey>
  ) throws(Conflict) {
    let scalars = Array(text.unicodeScalars)
    guard scalars.count > 1, scalars.count <= 256 else { return }
    for cut in 1..<scalars.count {
      let left = String(String.UnicodeScalarView(scalars[..<cut]))
      let right = String(String.UnicodeScalarView(scalars[cut...]))
      func isPiece(_ text: String) -> Bool {
        guard let number = numbers[ByteKey(text)] else { return text.unicodeScalars.count == 1 }
        return types[number] == .normal || text.unicodeScalars.count == 1
      }
      if isPiece(left), isPiece(right), !pairs.contains(ByteKey(left + "\0" + right)) {
        throw Conflict(
          what:
            "llama.cpp would join \"\(left.shortened)\" and \"\(right.shortened)\", which are no merge here"
        )
      }
    }
  }

  /// The scores of this tokenizer.
  func scores(_ texts: [String], _ types: [TokenType]) throws -> [Float] {
    do throws(Conflict) { return try Self.scores(texts, types, merges: parts.merges) } catch {
      throw refused(error.what)
    }
  }
}
