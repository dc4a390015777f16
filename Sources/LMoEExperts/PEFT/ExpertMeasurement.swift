public import LMoECore
import LMoEFormat

/// What the values of an expert are like: all finite, and how large each delta is.
public struct ExpertMeasurement: Sendable {
  /// ‖scaling · B·A‖_F of each module, in the expert's order; nil where the rank is too large to tell quickly.
  public let norms: [Double?]

  /// The largest rank whose Gram matrices are computed.
  private static let largestRank = 1024

  /// Reads every tensor of `expert` on all workers.
  ///
  /// - Throws: `ExpertError` with `non-finite` that names the tensor and the first such element; `FormatError`.
  public init(_ expert: LoRAExpert, on pool: WorkerPool = .shared) throws {
    let file = expert.adapter.file
    let modules = expert.modules
    let factors = Set(modules.flatMap { [ByteKey($0.a.name), ByteKey($0.b.name)] })
    let others = file.tensors.filter { !factors.contains(ByteKey($0.name)) }
    let results = Guarded([Double?](repeating: nil, count: modules.count))
    let count = modules.count
    let failure = Guarded<(index: Int, error: ExpertError)?>(nil)
    try OrderedJobs<FormatError>.run(count: count + others.count, on: pool) { (turn) throws(FormatError) in
      let index = turn.index
      do throws(Finding) {
        if index < count {
          let norm = try Self.norm(modules[index], in: file)
          results.withValue { $0[index] = norm }
        } else {
          try Self.check(others[index - count], in: file)
        }
      } catch {
        switch error {
        case .format(let error): throw error
        case .value(let error):
          failure.withValue { if $0 == nil || index < ($0?.index ?? 0) { $0 = (index, error) } }
        }
      }
    }
    if let failure = failure.withValue({ $0 }) { throw failure.error }
    norms = results.withValue { $0 }
  }

  /// Why a tensor was not measured.
  private enum Finding: Error {
    case format(FormatError)
    case value(ExpertError)
  }

  private static func norm(_ module: LoRAModule, in file: SafetensorsFile) throws(Finding) -> Double? {
    for vector in module.vectors { try check(vector, in: file) }
    guard module.rank <= largestRank else {
      for factor in [module.a, module.b] { try check(factor, in: file) }
      return nil
    }
    let (a, b) = (try floats(module.a, in: file), try floats(module.b, in: file))
    let norm = abs(module.scaling) * squaredNormOfProduct(b: b, a: a, rank: module.rank).squareRoot()
    return norm.isFinite ? norm : nil
  }

  private static let window = 1 << 20

  /// All values of a factor as float32.
  private static func floats(_ tensor: SafetensorsTensor, in file: SafetensorsFile) throws(Finding) -> [Float]
  {
    guard let values = FloatValues(tensor.type.dtype) else { return [] }
    let width = tensor.type.unitBytes
    let buffer = RawBuffer(count: window)
    var result: [Float] = []
    result.reserveCapacity(tensor.type.elementCount)
    try unsafe read(tensor, in: file, buffer, values) { part in
      unsafe result.append(
        contentsOf: [Float](unsafeUninitializedCapacity: part.count / width) { floats, count in
          unsafe values.convert(
            part, to: UnsafeMutableBufferPointer(rebasing: floats[..<(part.count / width)]))
          count = part.count / width
        })
    }
    return result
  }

  /// Makes sure that every value is finite.
  private static func check(_ tensor: SafetensorsTensor, in file: SafetensorsFile) throws(Finding) {
    guard let values = FloatValues(tensor.type.dtype) else { return }
    try unsafe read(tensor, in: file, RawBuffer(count: window), values) { _ in }
  }

  private static func read(
    _ tensor: SafetensorsTensor, in file: SafetensorsFile, _ buffer: RawBuffer, _ values: FloatValues,
    _ body: (UnsafeRawBufferPointer) -> Void
  ) throws(Finding) {
    let source = file.source(of: tensor)
    let width = tensor.type.unitBytes
    var offset = 0
    while offset < tensor.type.rawBytes {
      let part = unsafe buffer.prefix(min(window, tensor.type.rawBytes - offset))
      do throws(FormatError) { try unsafe source.read(into: part, at: UInt64(offset)) } catch {
        throw .format(error.at(path: file.path, entry: tensor.name))
      }
      let bytes = UnsafeRawBufferPointer(part)
      if unsafe !values.sumOfSquares(bytes).isFinite, let first = unsafe values.firstNonFinite(bytes) {
        throw .value(
          ExpertError(
            .nonFinite, path: file.path, name: tensor.name, found: "\(offset / width + first)"))
      }
      unsafe body(bytes)
      offset += part.count
    }
  }
}

extension PEFTAdapter {
  /// Makes sure that the adapter fits a base and that all its values are numbers.
  public func check(on base: BaseDescription, pool: WorkerPool = .shared) throws {
    _ = try ExpertMeasurement(try LoRAExpert(self, on: base), on: pool)
  }
}
