import CLMoEKernels

/// A model as the kernels that decode know it: pointers into memory that this object keeps.
@safe final class ModelLayout {
  @unsafe let layers: UnsafeMutablePointer<lmoe_layer>
  @unsafe private var slots: [UnsafeMutablePointer<lmoe_slot>] = unsafe []

  /// Lays out layers; nil if one has something that only the general path can do.
  init?(_ model: Model) {
    unsafe layers = UnsafeMutablePointer<lmoe_layer>.allocate(capacity: max(1, model.blocks.count))
    for (index, block) in model.blocks.enumerated() {
      unsafe layers[index] = layer(block)
    }
    guard model.head.overlay == nil, model.head.experts?.trained == nil,
      model.blocks.allSatisfy(\.isDecodable)
    else { return nil }
  }

  deinit {
    unsafe layers.deallocate()
    for index in unsafe slots.indices { unsafe slots[index].deallocate() }
  }

  @unsafe private func layer(_ block: DecoderBlock) -> lmoe_layer {
    let attention = block.attention
    return unsafe lmoe_layer(
      input_norm: norm(block.inputNorm), post_norm: norm(block.postAttentionNorm),
      query_norm: norm(attention.queryNorm), key_norm: norm(attention.keyNorm),
      query: linear(attention.query), key: linear(attention.key), value: linear(attention.value),
      output: linear(attention.output), gate: linear(block.feedForward.gate),
      up: linear(block.feedForward.up),
      down: linear(block.feedForward.down),
      experts_gate: block.gate.map { unsafe UnsafePointer($0.kernel.gate) },
      window: attention.window ?? 0)
  }

  @unsafe func norm(_ norm: RMSNorm?) -> lmoe_norm {
    guard let norm else { return unsafe lmoe_norm(weight: nil, kind: 0) }
    return unsafe lmoe_norm(weight: norm.weight.base, kind: norm.weight.kind.code)
  }

  @unsafe func linear(_ linear: Linear) -> lmoe_linear {
    let slots = linear.experts?.slots ?? []
    let memory = UnsafeMutablePointer<lmoe_slot>.allocate(capacity: max(1, slots.count))
    unsafe self.slots.append(memory)
    for (index, slot) in slots.enumerated() {
      unsafe memory[index] = lmoe_slot(
        expert: slot.expert, first: slot.ranks.lowerBound, count: slot.ranks.count, scaling: slot.scaling,
        rescaling: slot.rescaling.map { unsafe UnsafePointer($0.mutableRows.base) },
        down: slot.factors.a.matrix, up: slot.factors.b.matrix,
        up_is_transposed: slot.factors.isTransposed ? 1 : 0)
    }
    return unsafe lmoe_linear(
      weight: linear.weight.matrix, bias: linear.bias?.base, bias_kind: linear.bias?.kind.code ?? 0,
      slots: memory, slot_count: slots.count, ranks: linear.experts?.ranks ?? 0,
      gate: linear.gate.map { unsafe UnsafePointer($0.kernel.gate) })
  }
}

extension DecoderBlock {
  /// Whether nothing in it replaces rows of weights, and no factors change: the decoder has copies of them.
  fileprivate var isDecodable: Bool {
    [
      attention.query, attention.key, attention.value, attention.output, feedForward.gate, feedForward.up,
      feedForward.down,
    ].allSatisfy { $0.overlay == nil && $0.experts?.trained == nil }
  }
}
