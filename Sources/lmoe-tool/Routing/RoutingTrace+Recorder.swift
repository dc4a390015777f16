import LMoERuntime

extension RoutingTrace {
  /// What a recorder took down of one text.
  ///
  /// - Parameters:
  ///   - recorder: What was taken down, of this text alone and from its first token.
  ///   - prompt: The bytes of each token that was given.
  ///   - generated: The bytes of each token that was added.
  ///   - title: What it is about: the file, say.
  ///   - model: The model.
  ///   - selection: What weighed the experts.
  init(
    recorder: RoutingRecorder, prompt: [[UInt8]], generated: [[UInt8]], title: String, model: String,
    selection: String
  ) {
    let record = RoutingRecord(recorder)
    let tokens = (prompt + generated).enumerated().map { index, text in
      Token(text: text, isPrompt: index < prompt.count, weights: record.weights(ofToken: index))
    }
    self.init(
      title: title, model: model, selection: selection, columns: recorder.columns, places: recorder.places,
      tokens: tokens)
  }
}

/// What a recorder has taken down of one text so far, token by token.
struct RoutingRecord {
  private let width: Int
  /// The weights of each place: rows × columns.
  private let weights: [[Float]]
  /// The tokens that the model has read.
  let tokenCount: Int

  /// The weights by place, in the order of `places`.
  init(width: Int, weights: [[Float]]) {
    (self.width, self.weights) = (max(1, width), weights)
    tokenCount = weights.reduce(0) { max($0, $1.count) } / self.width
  }

  /// What `recorder` took down.
  init(_ recorder: RoutingRecorder) {
    self.init(
      width: recorder.columns.count, weights: recorder.places.map { recorder.weights[$0] ?? [] })
  }

  /// The weights of a token, by place and column.
  ///
  /// Nothing for a place that did not see the token: where only the last logits are wanted, the head reads
  /// only the last tokens.
  func weights(ofToken index: Int) -> [[Float]] {
    weights.map { rows in
      let start = (index - tokenCount) * width + rows.count
      guard start >= 0, start + width <= rows.count else { return [] }
      return Array(rows[start..<start + width])
    }
  }
}
