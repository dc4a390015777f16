import LMoECore
import LMoEExperts
import LMoEFormat

/// `inspect` of a Hugging Face checkpoint.
struct CheckpointReport: InspectReport {
  private let checkpoint: HFCheckpoint
  private let model: Result<CheckpointModel, any Error>
  private let withTensors: Bool

  init(_ checkpoint: HFCheckpoint, withTensors: Bool) {
    self.checkpoint = checkpoint
    self.withTensors = withTensors
    // What cannot be imported can still be looked at.
    model = Result { try checkpoint.resolved() }
  }

  private var tensors: [TensorLine] {
    checkpoint.files.flatMap { item in item.file.tensors.map { TensorLine($0, bank: item.name) } }
  }

  var json: JSON {
    var object: [(String, JSON)] = [
      ("schema", 1), ("format", "hf"), ("path", .string(checkpoint.path)),
      ("architecture", checkpoint.architecture.map(JSON.string) ?? .null),
      ("model_type", checkpoint.modelType.map(JSON.string) ?? .null),
      ("parameters", .integer(checkpoint.parameters)),
      ("files", .array(checkpoint.files.map { .string($0.name) })),
    ]
    switch model {
    case .success(let model): object.append(("model", model.names.model.json))
    case .failure(let error): object.append(("refused", .string("\(error)")))
    }
    if withTensors { object.append(("tensors", .array(tensors.map(\.json)))) }
    return .object(object)
  }

  var lines: [String] {
    let count = checkpoint.files.count
    var lines = [
      "\(Terminal.bold(checkpoint.path.printable))  Hugging Face checkpoint",
      "  \((checkpoint.architecture ?? "unknown architecture").printable), \(formatted(count: checkpoint.parameters)) parameters in \(count) file\(count == 1 ? "" : "s")",
    ]
    switch model {
    case .success(let model):
      lines += model.names.model.summary.map { "  " + $0 }
      lines.append("  " + model.tokenizer.summary.printable)
      lines += model.notes.map { "  note: " + $0.printable }
    case .failure(let error): lines.append("  cannot be imported: \(error)")
    }
    return withTensors ? lines + [""] + TensorLine.table(tensors).lines : lines
  }
}

extension ModelConfiguration {
  /// The model's sizes, in lines that fit 80 columns.
  var summary: [String] {
    let windows = Set(slidingWindows.compactMap(\.self)).sorted()
    let sliding = slidingWindows.count { $0 != nil }
    var second =
      "vocabulary \(grouped(vocabularySize))\(tiesEmbeddings ? " (tied)" : ""), context \(grouped(maximumPositions))"
    if let window = windows.first {
      second += ", window \(grouped(window))" + (sliding == layerCount ? "" : " in \(sliding) layers")
    }
    let stretched: String? =
      switch rotary.scaling {
      case .none: nil
      case .linear(let factor): "linear × \(shortest(factor))"
      case .dynamic(let factor): "dynamic × \(shortest(factor))"
      case .llama3(let factor, _, _, _): "llama3 × \(shortest(factor))"
      case .yarn(let factor, _, _, _, _, _): "yarn × \(shortest(factor))"
      }
    second += ", RoPE \(shortest(rotary.theta))" + (stretched.map { " " + $0 } ?? "")
    return [
      "\(layerCount) layers × \(hiddenSize), \(headCount) heads over \(keyValueHeadCount) × \(headDimension), feed-forward \(intermediateSize)",
      second,
    ]
  }
}

extension TokenizerFiles {
  /// What there is for text.
  var summary: String {
    let parts = [
      hasTokenizer ? tokenizer.joined(separator: " + ") : "no tokenizer",
      chatTemplate.map { "chat template (\($0))" }
        ?? (namedTemplates.isEmpty ? nil : "chat templates \(namedTemplates.joined(separator: ", "))"),
      generationConfiguration.map { _ in "generation config" },
    ]
    return parts.compactMap(\.self).joined(separator: ", ")
  }
}
