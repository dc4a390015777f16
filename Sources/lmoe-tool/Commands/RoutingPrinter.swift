import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

/// Shows each token of a text by its strongest expert, as soon as the gates have seen it.
///
/// A gate sees a token when the model reads it, which is one step after it was chosen.
final class RoutingPrinter {
  private let tokenizer: Tokenizer
  private let recorder: RoutingRecorder
  private let isShown: Bool
  private var colours: RoutingColours
  private let prompt: [Int]
  private var generated: [Int] = []
  private var shown = 0

  init(_ tokenizer: Tokenizer, _ recorder: RoutingRecorder, prompt: [Int], isShown: Bool) {
    (self.tokenizer, self.recorder, self.prompt, self.isShown) = (tokenizer, recorder, prompt, isShown)
    colours = RoutingColours(columns: recorder.columns)
    if isShown, let heading = colours.heading { Terminal.print(heading) }
  }

  private var tokens: [Int] { prompt + generated }

  /// Takes the next token; those before it have been read.
  func take(_ token: Int) {
    show(upTo: prompt.count + generated.count)
    generated.append(token)
  }

  /// The end of the text, and what each expert had of it.
  func finish() {
    guard isShown else { return }
    show(upTo: tokens.count)
    Terminal.emit(Array(colours.end().utf8))
    if colours.heading == nil { Terminal.print() }
    Terminal.print()
    for line in colours.legend(width: Terminal.width) { Terminal.print(line) }
  }

  private func show(upTo end: Int) {
    guard isShown, shown < end else { return }
    let record = RoutingRecord(recorder)
    let tokens = tokens
    for index in shown..<end {
      let text = colours.token(
        tokenizer.bytes(of: tokens[index]), isPrompt: index < prompt.count,
        weights: index < record.tokenCount ? record.weights(ofToken: index) : [])
      Terminal.emit(Array(text.utf8))
    }
    shown = end
  }

  /// Writes the page about the text.
  func writePage(_ path: String, bundle: String, model: Model) throws {
    let card = model.base.description
    let trace = RoutingTrace(
      recorder: recorder, prompt: prompt.map { tokenizer.bytes(of: $0) },
      generated: generated.map { tokenizer.bytes(of: $0) },
      title: bundle.split(separator: "/").last.map(String.init) ?? bundle,
      model: "\(card.name ?? "base"), \(model.layerCount) layers × \(model.configuration.hiddenSize)",
      selection: model.selection.title)
    let html = Array(RoutingPage(trace).html().utf8)
    try writeAtomically(path, in: PosixFileSystem(), failure: { $0 }) { (file) throws(FileError) in
      try file.write(html, at: 0)
    }
  }
}
