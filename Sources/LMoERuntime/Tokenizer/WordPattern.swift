/// A regular expression that splits text into words: one of those that tokenizers really use.
///
/// They are recognised by their text and scanned by hand, which is thirty times as fast as a general engine.
struct WordPattern: Hashable, Sendable {
  /// Where the English contractions ('s, 't, 're, 've, 'm, 'll, 'd) are split off.
  enum Contractions: Hashable, Sendable {
    case none
    /// As words of their own, in lower case.
    case lowercase
    /// As words of their own, in any case.
    case anyCase
    /// As ends of words, in any case.
    case suffix
  }

  /// What may stand before letters in a word.
  enum Lead: Hashable, Sendable {
    /// One space, also before numbers.
    case space
    /// Anything but a letter, a number or the end of a line, but not before numbers.
    case any
  }

  let contractions: Contractions
  let lead: Lead
  /// Whether a word ends where a capital follows a small letter.
  let splitsCase: Bool
  /// How many digits stand together.
  let digits: Int
  /// Whether ends of lines, and "/" if that too, belong to the punctuation before.
  let absorbsNewlines: Bool
  let absorbsSlashes: Bool
  /// Whether white space up to the last end of a line stands together.
  let splitsLines: Bool

  /// GPT-2's, which is also that of the pre-tokenizer ByteLevel.
  static let gpt2 = WordPattern(
    contractions: .lowercase, lead: .space, splitsCase: false, digits: .max, absorbsNewlines: false,
    absorbsSlashes: false, splitsLines: false)

  private static func modern(digits: Int) -> WordPattern {
    WordPattern(
      contractions: .anyCase, lead: .any, splitsCase: false, digits: digits, absorbsNewlines: true,
      absorbsSlashes: false, splitsLines: true)
  }

  private static func cased(_ contractions: Contractions, digits: Int) -> WordPattern {
    WordPattern(
      contractions: contractions, lead: .any, splitsCase: true, digits: digits, absorbsNewlines: true,
      absorbsSlashes: true, splitsLines: true)
  }

  /// The pattern that a regular expression is, if it is known.
  init?(regex: String) {
    let contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    let lines = #"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    let letters = #"|[^\r\n\p{L}\p{N}]?\p{L}+|"#
    let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
    let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
    let other = #"| ?[^\s\p{L}\p{N}]+"#
    func cased(_ suffix: String, _ number: String) -> String {
      let lead = #"[^\r\n\p{L}\p{N}]?"#
      return "\(lead)\(upper)*\(lower)+\(suffix)|\(lead)\(upper)+\(lower)*\(suffix)|\(number)\(other)"
        + #"[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    }
    let known: [(String, WordPattern)] = [
      (#"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#, .gpt2),
      (contraction + letters + #"\p{N}{1,3}"# + other + lines, .modern(digits: 3)),
      (contraction + letters + #"\p{N}"# + other + lines, .modern(digits: 1)),
      (cased("", #"\p{N}"#), .cased(.none, digits: 1)),
      (cased("", #"\p{N}{1,3}"#), .cased(.none, digits: 3)),
      (cased(contraction + "?", #"\p{N}{1,3}"#), .cased(.suffix, digits: 3)),
    ]
    guard let found = known.first(where: { $0.0.utf8.elementsEqual(regex.utf8) }) else { return nil }
    self = found.1
  }

  private init(
    contractions: Contractions, lead: Lead, splitsCase: Bool, digits: Int, absorbsNewlines: Bool,
    absorbsSlashes: Bool, splitsLines: Bool
  ) {
    self.contractions = contractions
    self.lead = lead
    self.splitsCase = splitsCase
    self.digits = digits
    self.absorbsNewlines = absorbsNewlines
    self.absorbsSlashes = absorbsSlashes
    self.splitsLines = splitsLines
  }
}
