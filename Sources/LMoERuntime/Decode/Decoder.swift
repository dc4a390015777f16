import CLMoEKernels
import LMoECore
import LMoEExperts

/// Computes one token at a time: all layers in one job of the pool, whose workers share each layer's sums.
///
/// It does what the layers' `forward` does with one row, in the same order of sums but for two:
/// - Attention over many positions is put together of parts, so that workers can share a single head.
/// - U = A·x is put together of parts where A is packed and no large gate has to see x first: each task of
///   the stage that makes x multiplies the columns that it has just computed. After a norm these have the
///   norm's weight, and the sum of the parts is divided by what the norm divides by. The first layer's
///   attention, attention's output and experts that are chosen token by token have a stage for U, which sums
///   as `forward` does.
///
/// Neither kind of parts depends on the number of workers.
/// One thread at a time uses it.
@safe final class Decoder: @unchecked Sendable {
  /// What the layers' pointers point to is kept by the model and by the layout.
  private let model: Weights
  private let layout: ModelLayout
  @unsafe private let decoder: OpaquePointer
  @unsafe private let token: UnsafeMutablePointer<lmoe_model>
  private let pool: WorkerPool
  private let scratch: Rows
  @unsafe private let keys: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  @unsafe private let values: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  /// The last norm's output and the logits of the token, a row each.
  let normed: OwnedRows
  let logits: OwnedRows
  /// Nanoseconds by what they were spent on.
  @unsafe private let times: UnsafeMutablePointer<UInt64>

  /// What keeps the memory of the weights.
  private struct Weights {
    let blocks: [DecoderBlock]
    let norm: RMSNorm
    let head: Linear
  }

  /// Lays out `model`; nil if it has something that only the general path can do.
  init?(_ model: Model) {
    guard let layout = ModelLayout(model) else { return nil }
    let configuration = model.configuration
    let (layers, columns) = (model.blocks.count, max(1, model.gateColumns.count))
    self.layout = layout
    self.model = Weights(blocks: model.blocks, norm: model.norm, head: model.head)
    pool = model.compute.pool
    scratch = model.compute.scratchRows
    normed = OwnedRows(1, configuration.hiddenSize)
    logits = OwnedRows(1, model.head.outputs)
    unsafe keys = .allocate(capacity: max(1, layers))
    unsafe values = .allocate(capacity: max(1, layers))
    unsafe times = .allocate(capacity: LMOE_TIMES)
    unsafe times.update(repeating: 0, count: LMOE_TIMES)
    var description = unsafe lmoe_model()
    unsafe description.hidden = configuration.hiddenSize
    unsafe description.heads = configuration.headCount
    unsafe description.key_heads = configuration.keyValueHeadCount
    unsafe description.head_width = configuration.headDimension
    unsafe description.inner = model.blocks.map(\.feedForward.gate.outputs).max() ?? 0
    unsafe description.layer_count = layers
    unsafe description.epsilon = model.norm.epsilon
    unsafe description.layers = UnsafePointer(layout.layers)
    unsafe description.norm = layout.norm(model.norm)
    unsafe description.head = layout.linear(model.head)
    unsafe description.gate_width = columns
    unsafe description.uses_integers = model.compute.usesIntegers ? 1 : 0
    unsafe description.keys = UnsafePointer(keys)
    unsafe description.values = UnsafePointer(values)
    unsafe description.normed = normed.rows.base
    unsafe description.logits = logits.rows.base
    let made = unsafe lmoe_decoder_create(&description, pool.count)
    guard let made = unsafe made, let token = unsafe lmoe_decoder_model(made) else {
      unsafe keys.deallocate()
      unsafe values.deallocate()
      unsafe times.deallocate()
      return nil
    }
    unsafe decoder = made
    unsafe self.token = token
    pool.run(items: unsafe lmoe_decoder_packs(made)) { [self] part, _ in
      unsafe lmoe_decoder_pack(decoder, part)
    }
  }

  deinit {
    unsafe lmoe_decoder_free(decoder)
    unsafe keys.deallocate()
    unsafe values.deallocate()
    unsafe times.deallocate()
  }

  // MARK: Timing

  func clearTimes() { unsafe times.update(repeating: 0, count: LMOE_TIMES) }

  /// From now on takes the time of stages, or no longer does.
  func setTiming(_ isOn: Bool) { unsafe lmoe_decoder_time(decoder, isOn ? times : nil) }

  /// Nanoseconds of one of the kernels' LMOE_TIME values.
  func nanoseconds(_ place: Int) -> UInt64 { unsafe times[place] }

  // MARK: A token

  /// Computes one token.
  ///
  /// - Parameters:
  ///   - x: Its embedding [1, hidden]; changed.
  ///   - angles: cos and sin of its position [1, d].
  ///   - weights: The weights of the experts, where one gate serves the whole model [1, columns].
  ///   - position: Its position; the cache has room for it, and holds all before it.
  ///   - cache: The text's keys and values, which its own join.
  /// - Returns: Whether there was memory enough; if not, nothing was done.
  func run(_ x: Rows, angles: Rows, weights: Rows?, position: Int, cache: KVCache) -> Bool {
    unsafe token.pointee.residual = x.base
    unsafe token.pointee.weights = weights.map { unsafe UnsafePointer($0.base) }
    unsafe token.pointee.cosines = UnsafePointer(angles.base)
    unsafe token.pointee.sines = UnsafePointer(angles.base + angles.width / 2)
    unsafe token.pointee.position = position
    unsafe token.pointee.capacity = cache.capacity
    unsafe token.pointee.cache_kind = cache.kind.code
    unsafe cache.copyBases(keys: keys, values: values)
    guard unsafe lmoe_decoder_begin(decoder) != 0 else { return false }
    pool.run { [self] worker in
      unsafe lmoe_decoder_run(decoder, worker, scratch.row(worker))
    }
    return true
  }
}

extension KVCache {
  /// Writes where each layer's keys and values are.
  @unsafe fileprivate func copyBases(
    keys: UnsafeMutablePointer<UnsafeMutableRawPointer?>,
    values: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  ) {
    for layer in 0..<layerCount {
      unsafe keys[layer] = base(ofKeys: layer)
      unsafe values[layer] = base(ofValues: layer)
    }
  }
}
