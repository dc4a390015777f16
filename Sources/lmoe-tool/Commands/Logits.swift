import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

/// The command `lmoe-tool logits`.
struct LogitsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logits",
    abstract: "Write the logits of every token of a text.",
    discussion: """
      The output is a safetensors file with logits [tokens, vocabulary] in float32; with --hidden also the last \
      hidden states after the final norm, hidden [tokens, width]; with --gate-weights also what each gate \
      decided, gate/PLACE [tokens, experts].
      """)

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Argument(help: "The text; or give its tokens with --ids.")
  var text: String?

  @Option(name: .long, help: ArgumentHelp("The tokens.", valueName: "1,2,3"))
  var ids: TokensArgument?

  @Option(name: .shortAndLong, help: "The file to make.", completion: .file(extensions: ["safetensors"]))
  var output: String

  @Flag(name: .long, help: "Write the last hidden states too.")
  var hidden = false

  @Flag(name: .long, help: "Write the weights of the gates too.")
  var gateWeights = false

  @OptionGroup var select: SelectionOptions
  @OptionGroup var options: RunOptions

  func validate() throws {
    if (text == nil) == (ids == nil) { throw ValidationError("Say which text: \"…\", or --ids 1,2,3.") }
  }

  func run() throws {
    let base = try options.load(file)
    let model = try Model(base, selection: try select.selection(in: base.bundle))
    let recorder = gateWeights ? model.makeRecorder() : nil
    var logits: [Float] = []
    var states: [Float] = []
    let tokens =
      try ids?.ids ?? Tokenizer(bundle: base.bundle).encode(text ?? "", addingSpecialTokens: true)
    guard !tokens.isEmpty else { throw RuntimeError(.emptyPrompt, path: file) }
    logits.reserveCapacity(tokens.count * model.configuration.vocabularySize)
    try model.forward(
      [Model.Segment(tokens, model.makeCache(capacity: tokens.count))], wanting: .all, recorder: recorder
    ) { output in
      logits += output.logits.array
      if hidden { states += output.hidden.array }
    }
    var tensors = [try tensor("logits", logits, rows: tokens.count)]
    if hidden { tensors.append(try tensor("hidden", states, rows: tokens.count)) }
    for place in recorder?.places ?? [] {
      tensors.append(try tensor("gate/" + place, recorder?.weights[place] ?? [], rows: tokens.count))
    }
    try SafetensorsWriter.write(
      output, tensors: tensors, metadata: [("experts", model.gateColumns.joined(separator: ","))])
  }

  private func tensor(_ name: String, _ values: [Float], rows: Int) throws -> NewEntry {
    guard let type = TensorType(dtype: .f32, shape: [UInt64(rows), UInt64(values.count / max(1, rows))])
    else {
      throw FormatError(.tooLarge, entry: name)
    }
    return NewEntry(tensor: name, type: type, source: MemorySource(values.littleEndianBytes))
  }
}

extension [Float] {
  /// The values as little-endian bytes.
  fileprivate var littleEndianBytes: [UInt8] {
    unsafe withUnsafeBytes { unsafe [UInt8]($0) }
  }
}
