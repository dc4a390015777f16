import LMoECore

extension RuntimeError: CustomStringConvertible {
  /// One sentence that says what is wrong and what to do.
  public var description: String { path.printable + ": " + sentence }

  private var sentence: String {
    let name = (name ?? "").printable
    let expected = (expected ?? "").printable
    let found = (found ?? "").printable
    switch code {
    case .emptyPrompt:
      return "the prompt has no tokens, and the model has no token to begin a text with; give a prompt"
    case .promptTooLong:
      return "the prompt has \(found) tokens and the context \(expected); shorten it, or give --context"
    case .tokenOutOfRange: return "there is no token \(found); the model has \(expected)"
    case .nonFinite:
      return self.name == nil
        ? "the logits at position \(found) are not finite, though the base's weights are: an expert or a "
          + "weight of the mixture is too large"
        : "the base's tensor \(name) has an infinity or a NaN at element \(expected); import it anew"
    case .notMixable:
      return "the expert \(name) cannot be mixed: \(found), which has no weight for each token; "
        + "run it alone with --expert \(name), or leave it out"
    case .noSuchExpert:
      let hint = self.expected.map { "; did you mean \($0.printable)?" } ?? ""
      return "there is no expert \(name)\(hint) (there is \(found))"
    case .noSuchGate:
      let hint = self.expected.map { "; did you mean \($0.printable)?" } ?? ""
      return "there is no gate \(name)\(hint) (there is \(found))"
    case .noExperts: return "the bundle has no experts; add one with \"lmoe-tool add\""
    case .unsupportedGate: return "the gate \(name) cannot be run: \(found)"
    case .invalidGate:
      return "the gate \(name) is damaged: \(found); make it anew with \"lmoe-tool gate init\""
    case .invalidExpert: return "the expert \(name) is damaged: \(found); add it anew"
    case .invalidData: return self.name.map { "line \($0.printable): \(found)" } ?? found
    case .untrainable: return found
    case .diverged:
      return
        "the loss is no longer a number in step \(found); go on from the last checkpoint with a lower --rate, "
        + "a longer --rate-warmup or a lower --clip"
    case .unsupportedType: return "the tensor \(name) is \(found), which the runtime does not compute with"
    }
  }
}
