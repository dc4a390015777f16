/// What the gates decided for each token of a text.
///
/// A token's weights are those with which the model read it, and so those that wrote the token after it. The
/// last token of a text that was not read any more has none.
struct RoutingTrace: Sendable {
  /// A token and its weights.
  struct Token: Sendable {
    /// The bytes of its piece: hostile, and perhaps only a part of a character.
    let text: [UInt8]
    /// Whether it was given, not generated.
    let isPrompt: Bool
    /// The weights by place and column, of any sign; nothing for a place where none were taken down.
    let weights: [[Float]]
  }

  /// What it is about: the file, say.
  let title: String
  /// The model: the base's name and size, say.
  let model: String
  /// What weighed the experts: the gate's name, or the weights that were given.
  let selection: String
  /// The experts' names; "" for the null expert.
  let columns: [String]
  /// Where it was decided: modules, layers or `global`, in the model's order.
  let places: [String]
  /// The tokens in the order of the text.
  let tokens: [Token]

  /// What a column is called.
  static func name(ofColumn column: String) -> String { column.isEmpty ? "base" : column }

  /// What the columns are called.
  var names: [String] { columns.map(Self.name(ofColumn:)) }

  /// The number of tokens that were given.
  var promptCount: Int { tokens.count { $0.isPrompt } }
}
