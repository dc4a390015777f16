private import CLMoEKernels
import LMoECore
import LMoEFormat

/// A tensor of the base with deltas added, computed some rows at a time as somebody reads it.
final class MergedWeight: ByteSource, @unchecked Sendable {
  private let merge: BaseMerge
  private let entry: NewEntry
  private let module: Merge.Module?
  private let biased: Merge.Module?
  private let replacements: [(input: Int, tensor: String)]
  private let columns: Int
  private let reader: FloatValues?

  /// What is needed for the rows, from the first that is read to the last.
  private struct Loaded: @unchecked Sendable {
    var module: LoadedModule?
    /// What deltas count, where the result is a sum of them.
    var coefficients: [Double] = []
    /// Deltas merged entry by entry.
    var merged: (any MatrixRows)?
    /// Values that are added: a bias's, or what takes the place of the base's.
    var differences: [Float]?
  }

  private let loaded = Guarded<(value: Loaded?, left: Int)>((nil, 0))

  init(
    _ merge: BaseMerge, _ entry: NewEntry, module: Merge.Module?, biased: Merge.Module?,
    replacements: [(input: Int, tensor: String)]
  ) {
    (self.merge, self.entry, self.module, self.biased) = (merge, entry, module, biased)
    self.replacements = replacements
    columns = entry.type.shape.count == 2 ? entry.type.shape[1] : max(1, entry.type.elementCount)
    reader = FloatValues(entry.type.dtype)
    loaded.withValue { $0.left = entry.type.rawBytes }
  }

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError) {
    let width = entry.type.unitBytes
    let start = Int(offset)
    let first = start / width / columns
    let last = (start + buffer.count + width * columns - 1) / width / columns
    let rows = first..<min(last, entry.type.elementCount / columns)
    let count = rows.count * columns
    let state: Loaded
    do { state = try load() } catch let error as FormatError { throw error } catch {
      throw FormatError(.unsupportedDType, path: merge.base.path, entry: entry.name, found: "\(error)")
    }
    let raw = RawBuffer(count: count * width)
    let bytes = unsafe raw.prefix(count * width)
    try unsafe entry.source.read(into: bytes, at: UInt64(first * columns * width))
    let sum = FloatBuffer(count)
    unsafe reader?.convert(
      UnsafeRawBufferPointer(bytes), to: UnsafeMutableBufferPointer(start: sum.floats, count: count))
    unsafe add(state, rows, to: sum.floats)
    unsafe round(sum.floats, count, to: bytes)
    let skipped = start - first * columns * width
    unsafe buffer.copyMemory(
      from: UnsafeRawBufferPointer(rebasing: bytes[skipped..<skipped + buffer.count]))
    loaded.withValue { state in
      state.left -= buffer.count
      // Read through once: the next reader has to pay again.
      if state.left <= 0 { state = (nil, entry.type.rawBytes) }
    }
  }

  @unsafe private func add(_ state: Loaded, _ rows: Range<Int>, to sum: UnsafeMutablePointer<Float>) {
    let count = rows.count * columns
    if let differences = state.differences {
      for place in 0..<count { unsafe sum[place] += differences[rows.lowerBound * columns + place] }
    }
    guard let module = state.module else { return }
    if let merged = state.merged {
      // Those that compute rows have one place for them.
      loaded.withValue { _ in
        let height = merged.height
        for start in stride(from: rows.lowerBound, to: rows.upperBound, by: height) {
          let part = start..<min(start + height, rows.upperBound)
          unsafe lmoe_add(
            sum + (start - rows.lowerBound) * columns, merged.values(of: part), part.count * columns)
        }
      }
      return
    }
    let deltas = DeltaRows(module)
    for (index, coefficient) in state.coefficients.enumerated() {
      unsafe deltas.compute(index, rows, into: sum, factor: coefficient, accumulates: true)
      if merge.rounding == .peft { unsafe Self.round(sum, count, to: entry.type.dtype) }
    }
  }

  /// Rounds values to what a dtype can hold.
  @unsafe private static func round(_ values: UnsafeMutablePointer<Float>, _ count: Int, to dtype: DType) {
    guard dtype == .f16 || dtype == .bf16 else { return }
    unsafe withUnsafeTemporaryAllocation(of: UInt16.self, capacity: count) { halves in
      guard let out = halves.baseAddress else { return }
      if dtype == .f16 {
        unsafe lmoe_to_f16(values, count, out)
        unsafe lmoe_to_f32(out, count, Int32(LMOE_F16), values)
      } else {
        unsafe lmoe_to_bf16(values, count, out)
        unsafe lmoe_to_f32(out, count, Int32(LMOE_BF16), values)
      }
    }
  }

  @unsafe private func round(
    _ values: UnsafeMutablePointer<Float>, _ count: Int, to bytes: UnsafeMutableRawBufferPointer
  ) {
    guard let out = bytes.baseAddress else { return }
    switch entry.type.dtype {
    case .f16: unsafe lmoe_to_f16(values, count, out.assumingMemoryBound(to: UInt16.self))
    case .bf16: unsafe lmoe_to_bf16(values, count, out.assumingMemoryBound(to: UInt16.self))
    default: unsafe out.copyMemory(from: values, byteCount: count * 4)
    }
  }

  /// Reads factors and finds what to keep, once.
  private func load() throws -> Loaded {
    try loaded.withValue { state in
      if let value = state.value { return value }
      var made = Loaded()
      // The workers are busy with those who read; one of them loads for all.
      let alone = WorkerPool(count: 1)
      let plan = merge.merge
      if let module {
        let loadedModule = try plan.load([module], on: alone)[0]
        made.module = loadedModule
        let weights = loadedModule.terms.map(\.weight)
        if plan.method.isLinear {
          made.coefficients = try MergeCoefficients.of(
            plan.method, weights: weights, all: plan.weights, places: loadedModule.terms.map(\.input)
          ) { try loadedModule.isFactored ? loadedModule.innerProducts() : loadedModule.denseInnerProducts() }
        } else if plan.method.kind == .knots {
          let product = try Knots.merge(loadedModule, weights: weights, by: plan.method)
          made.module = LoadedModule(
            name: module.name, rows: module.rows, columns: module.columns, isEmbedding: module.isEmbedding,
            terms: [
              LoadedModule.Term(
                input: 0, weight: 1, scaling: 1, product: product, bias: nil, magnitude: nil)
            ], base: nil)
          made.coefficients = [1]
        } else {
          made.merged = ElementwiseRows.merging(
            loadedModule.terms.indices.map { TermRows(loadedModule, $0) }, weights: weights,
            keys: plan.keys(of: loadedModule), by: plan.method)
        }
      }
      made.differences = try differences(alone)
      state.value = made
      return made
    }
  }

  /// What biases and whole tensors add.
  private func differences(_ pool: WorkerPool) throws -> [Float]? {
    let plan = merge.merge
    var result: [Float]?
    if let biased {
      let loaded = try plan.load([biased], on: pool)[0]
      result = MergedModule.bias(
        loaded, loaded.terms.map(\.weight), plan.weights, plan.method, plan.keys(of: loaded))
    }
    guard !replacements.isEmpty else { return result }
    let own = try entry.source.floats(entry.type)
    var sums = result.map { $0.map(Double.init) } ?? [Double](repeating: 0, count: own.count)
    for (input, name) in replacements {
      let values = try plan.inputs[input].tensors.floats([name], on: pool)[0]
      guard values.count == own.count else {
        throw ExpertError(
          .tensorMismatch, path: plan.inputs[input].path, name: name, expected: "\(own.count) values",
          found: "\(values.count)")
      }
      let weight = plan.weights[input] * (plan.method.usesLambda ? plan.method.lambda : 1)
      for place in own.indices { sums[place] += weight * (Double(values[place]) - Double(own[place])) }
    }
    result = sums.map { Float($0) }
    return result
  }
}
