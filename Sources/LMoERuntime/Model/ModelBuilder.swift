import LMoECore
import LMoEExperts
import LMoEFormat

/// Puts a model together: the base's weights, what one expert replaces of them, and the experts' factors.
struct ModelBuilder {
  let base: LoadedBase
  let experts: LoadedExperts
  /// Whether the one expert there is applies with all that it changes.
  let isOutright: Bool
  let gate: MixtureGate?
  let compute: Compute

  private var record: ExpertRecord? { isOutright ? experts.records.first : nil }
  private var model: ModelConfiguration { base.description.model }

  // MARK: Tensors

  /// A tensor of the model as it is before deltas are added.
  private func tensor(_ name: String) throws -> Weight {
    if let replaced = try replacement(name) { return replaced }
    return try base.weight(original(name))
  }

  private func replacement(_ tensor: String) throws -> Weight? {
    guard let record, let item = record.replacements.last(where: { $0.tensor.hasSameBytes(as: tensor) })
    else { return nil }
    return try experts.whole(0, item.with)
  }

  /// The base's name of a tensor in a stack of layers of the expert's own.
  private func original(_ name: String) -> String {
    let head = "model.layers."
    guard let layers = record?.stack?.layers, name.utf8.starts(with: head.utf8) else { return name }
    let rest = name.utf8.dropFirst(head.utf8.count)
    let number = String(decoding: rest.prefix { $0 != UInt8(ascii: ".") }, as: UTF8.self)
    guard let index = Int(number), layers.indices.contains(index) else { return name }
    return head + String(layers[index]) + String(decoding: rest.dropFirst(number.utf8.count), as: UTF8.self)
  }

  /// Rows of `module` that the expert has trained anew; those of a tied embedding are the head's too.
  private func overlay(_ module: String, on weight: Weight) throws -> RowOverlay? {
    guard let record else { return nil }
    var indices: [Int] = []
    var rows: [[Float]] = []
    for item in record.tokens
    where item.module.hasSameBytes(as: module) || (item.isTied && module == "lm_head") {
      let new = try experts.whole(0, item.with)
      guard new.columns == weight.columns, item.indices.allSatisfy({ $0 < weight.rows }) else { continue }
      for (place, index) in item.indices.enumerated() {
        indices.append(index)
        rows.append(
          zip(new[place..<place + 1].floats, weight[index..<index + 1].floats).map { $0 - $1 })
      }
    }
    guard !indices.isEmpty else { return nil }
    let values = rows
    return RowOverlay(
      indices: indices,
      differences: Weight.made(rows: rows.count, columns: weight.columns) { out in
        for (row, floats) in values.enumerated() {
          for (column, value) in floats.enumerated() { out[row, column] = value }
        }
      })
  }

  // MARK: Layers

  func linear(_ name: String) throws -> Linear {
    try linear(name, try tensor(name + ".weight"))
  }

  private func linear(_ name: String, _ weight: Weight) throws -> Linear {
    let overlay = try overlay(name, on: weight)
    let own = try experts.adapting(name, weight, overlay: overlay, compute)
    return Linear(
      name: name, weight: weight, bias: try bias(name, weight.rows), experts: own, overlay: overlay,
      gate: own == nil ? nil : try gate?.module(name, inputs: weight.columns))
  }

  /// The layer's bias, and that of the expert's B.
  private func bias(_ name: String, _ outputs: Int) throws -> Weight? {
    let own = try (replacement(name + ".bias") ?? base.optionalWeight(original(name + ".bias")))?.unquantized
    guard let record, let numbers = record.modules[ByteKey(name)], numbers.hasBias else { return own }
    let added = try experts.tensor(0, name + ".lora_B.bias").floats
    let sum = zip(own?.floats ?? [Float](repeating: 0, count: outputs), added).map {
      $0 + Float(numbers.scaling) * $1
    }
    return Weight.made(rows: 1, columns: outputs) { out in
      for (column, value) in sum.enumerated() { out[0, column] = value }
    }
  }

  func norm(_ name: String) throws -> RMSNorm {
    RMSNorm(weight: try tensor(name + ".weight").unquantized, epsilon: model.normEpsilon)
  }

  func layerGate(_ name: String) throws -> GateInstance? { try gate?.layer(name, inputs: model.hiddenSize) }

  func embedding() throws -> Embedding {
    let name = "model.embed_tokens"
    let weight = try tensor(name + ".weight")
    let overlay = try overlay(name, on: weight)
    return Embedding(weight: weight, overlay: overlay, delta: try delta(name, weight, overlay))
  }

  private func delta(_ name: String, _ weight: Weight, _ overlay: RowOverlay?) throws -> Embedding.Delta? {
    guard let numbers = record?.modules[ByteKey(name)], numbers.isEmbedding else { return nil }
    let a = try experts.tensor(0, name + ".lora_embedding_A")
    let b = try experts.tensor(0, name + ".lora_embedding_B")
    let scaling = Float(numbers.scaling)
    var factors: [Float]?
    if numbers.isDoRA {
      let magnitudes = try experts.tensor(0, name + ".lora_magnitude_vector").floats
      let norms = DoRA.columnNorms(weight, overlay, a: a, b: b, scaling: scaling, compute)
      factors = zip(magnitudes, norms).map { $0 / $1 }
    }
    return Embedding.Delta(a: a, b: b, scaling: scaling, factors: factors)
  }

  /// The head: its own weight, or the base's embedding where they are one.
  func head() throws -> Linear { try linear("lm_head", try tensor("lm_head.weight")) }

  func blocks() throws -> [DecoderBlock] {
    let windows = record?.stack?.windows ?? model.slidingWindows
    return try windows.enumerated().map { index, window in
      try model.family.runtime.block(
        LayerParts(model: model, index: index, window: window, builder: self))
    }
  }
}
