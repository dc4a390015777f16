import LMoEExperts

/// A gate in words.
extension Gate {
  /// In a few words; `routed` is how many experts it chooses from, nil for all.
  func summary(routed: Int?) -> String {
    let count = routed.map { "\($0) expert\($0 == 1 ? "" : "s")" }
    switch score {
    case .constant(.uniform): return "\(count ?? "every expert") alike, for every token"
    case .constant(.given(let weights)):
      return "fixed weights for \(weights.count) expert\(weights.count == 1 ? "" : "s"), for every token"
    case .linear, .prototype:
      let place = scope == .global ? "once for all layers" : "for each \(scope.rawValue)"
      return "\(score.name), \(place), \(short)\(count.map { ", \($0)" } ?? "")"
    }
  }

  private var short: String {
    switch normaliser {
    case .none: "scores as they are"
    case .softmax: "softmax"
    case .topKRenormalised(let k): "top \(k)"
    case .topKRaw(let k): "top \(k), raw"
    }
  }

  /// For what it decides, and by what.
  var decision: String {
    switch (isLearned, scope) {
    case (false, .global): "once and for all tokens"
    case (false, .layer): "for each layer, the same for all tokens"
    case (false, .module): "for each linear layer, the same for all tokens"
    case (true, .module): "for each linear layer, by its input"
    case (true, .layer): "for each layer, by the output of its first norm"
    case (true, .global): "once for all layers, by the token's row of the embedding"
    }
  }

  /// How it scores.
  var scoring: String {
    switch score {
    case .constant: "constant"
    case .linear: "linear: w·x + b"
    case .prototype(.dot): "prototype p: x·p"
    case .prototype(.absoluteDot): "prototype p: |x·p|"
    case .prototype(.cosine): "prototype p: the cosine of x and p"
    }
  }

  /// How scores become weights.
  var weighing: String {
    let scores = temperature == 1 ? "scores" : "scores / \(shortest(temperature))"
    switch (score, normaliser) {
    case (.constant(.uniform), _):
      return members == .all ? "every expert alike, those to come too" : "every routed expert alike"
    case (.constant(.given), .none): return "as given"
    case (_, .none): return "the \(scores), as they are"
    case (_, .softmax): return "softmax of the \(scores)"
    case (_, .topKRenormalised(let k)): return "softmax of the \(k) highest \(scores)"
    case (_, .topKRaw(let k)): return "softmax of the \(scores), of which the \(k) highest count"
    }
  }
}
