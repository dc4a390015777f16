import LMoEExperts

extension TrainingModel {
  /// How large a part may be.
  struct PartLimits: Sendable {
    /// Bytes of activations that may be kept at once: with more, documents go through in parts.
    var bytes = 256 << 20
    /// But a part has as many rows as this, for with fewer more time would go into laying out weights.
    var rows = 512
  }

  /// Documents that go forward and back together, one part after the other: so that what is kept for the way back
  /// does not grow with the step.
  ///
  /// Gradients are sums over documents, and so are losses but those that look at the means of all rows.
  func parts(of documents: [Document], _ losses: AuxiliaryLosses) -> [ArraySlice<Document>] {
    let rows = documents.reduce(0) { $0 + $1.tokens.count }
    let kept = rows * keptBytesPerRow
    let wanted = min(rows / partLimits.rows, (kept + partLimits.bytes - 1) / partLimits.bytes)
    guard wanted > 1, losses.balance == 0, losses.mutualInformation == 0 else { return [documents[...]] }
    // Of alike lengths: a document belongs to the part that its middle lies in.
    var parts: [ArraySlice<Document>] = []
    var (first, before) = (0, 0)
    for (index, document) in documents.enumerated() {
      let middle = 2 * before + document.tokens.count
      if middle * wanted >= 2 * rows * (parts.count + 1), index > first {
        parts.append(documents[first..<index])
        first = index
      }
      before += document.tokens.count
    }
    return parts + [documents[first...]]
  }

  /// Bytes that a row keeps for the way back.
  private var keptBytesPerRow: Int {
    let hidden = model.configuration.hiddenSize
    let layers = blocks.map { hidden + $0.keptFloats }
    let kept = recomputes ? layers.max() ?? 0 : layers.reduce(0, +)
    return (kept + (blocks.count + 1) * hidden) * MemoryLayout<Float>.stride
  }
}

extension BlockTape {
  /// Floats that a row keeps for the way back, besides the residual stream.
  fileprivate var keptFloats: Int {
    attention.keptFloats + feedForward.keptFloats + linears.reduce(0) { $0 + $1.keptFloats }
  }
}
