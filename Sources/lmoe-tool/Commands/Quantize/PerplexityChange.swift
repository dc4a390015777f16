import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

/// Texts that a bundle is measured with, before and after a change of its weights.
struct PerplexityChange {
  /// What chooses the experts: the bundle's own gate, all with equal weights where it has none, or the base.
  let selection: Selection
  let groups: [HeldOut.Group]

  init(_ bundle: Bundle, _ texts: [DataArgument]) throws {
    var heldOut = HeldOut(TextCoding(try Tokenizer(bundle: bundle)), chat: ChatForm(bundle: bundle))
    for item in texts { try heldOut.add(try readWhole(item.path), of: item.path, domain: item.domain) }
    groups = heldOut.groups
    let gate = try bundle.defaultGate().map { Selection.gate($0.name) }
    selection = bundle.banks(ofKind: "expert").isEmpty ? .base : gate ?? .uniform
  }

  /// What each kind of text costs.
  func measure(_ bundle: Bundle, on pool: WorkerPool) throws -> [Evaluation] {
    let model = try Model(LoadedBase(bundle, on: pool), selection: selection)
    let tokens = groups.reduce(0) { $0 + $1.samples.reduce(0) { $0 + $1.tokens.count } }
    let progress = ProgressBar("evaluate", total: UInt64(tokens), unit: .tokens)
    defer { progress.finish() }
    return try groups.map { group in
      try Evaluation.of(group.samples, by: model, context: model.configuration.maximumPositions) {
        progress.advance(UInt64($0))
      }
    }
  }
}

/// The mean square of what goes into each linear layer while the base reads texts.
func calibration(
  _ bundle: Bundle, _ texts: [DataArgument], most: Int, on pool: WorkerPool
) throws -> InputImportance {
  let model = try Model(LoadedBase(bundle, on: pool))
  let coding = TextCoding(try Tokenizer(bundle: bundle))
  let chat = ChatForm(bundle: bundle)
  let means = InputMeans(scope: .module, ofSquares: true)
  let positions = model.configuration.maximumPositions
  var all: [UInt8] = []
  var count = 0
  for item in texts {
    let bytes = try readWhole(item.path)
    all += bytes
    for text in try TextData(domain: item.domain, path: item.path, bytes: bytes, chat: chat).documents {
      let tokens = coding.sample(text).tokens.prefix(max(0, most - count))
      count += tokens.count
      // A text longer than the context is read in parts, each from its own beginning.
      for start in stride(from: 0, to: tokens.count, by: positions) {
        let part = Array(tokens[start..<min(start + positions, tokens.count)])
        try model.forward([Model.Segment(part, model.makeCache(capacity: part.count))], means: means) { _ in }
      }
    }
  }
  guard count > 0 else {
    throw ExpertError(.invalidText, path: texts.first?.path ?? "", found: "there is nothing in it")
  }
  return InputImportance(
    means.means.map { ($0.key.text, $0.value) }, textHash: Checksum.hash128(all))
}
