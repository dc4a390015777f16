import LMoECore
import LMoEExperts
import LMoEFormat

/// The tensors of a bank in memory: used from the map where they are stored raw, decoded otherwise.
final class WeightStore: Sendable {
  private let weights: [ByteKey: Weight]
  /// Whether all of it is used from the map.
  let isMapped: Bool

  init(_ weights: [ByteKey: Weight], isMapped: Bool = false) {
    self.weights = weights
    self.isMapped = isMapped
  }

  /// The tensor with that name in the bank.
  subscript(name: String) -> Weight? { weights[ByteKey(name)] }

  /// All tensors, by name.
  var all: [(name: String, weight: Weight)] {
    weights.map { ($0.key.text, $0.value) }.sorted { ByteKey($0.name) < ByteKey($1.name) }
  }

  /// A decoded tensor on its way.
  private struct Target: Sendable {
    let entry: Entry
    let kind: Weight.Kind
    let buffer: RawBuffer
  }

  /// Loads entries of a bundle's bank on all workers.
  ///
  /// - Throws: `RuntimeError` with `unsupported-type`, `FormatError`.
  static func load(
    _ entries: [Entry], of bank: BankEntry, in bundle: Bundle, on pool: WorkerPool
  ) throws -> WeightStore {
    for entry in entries where FloatValues(entry.type) == nil {
      throw RuntimeError(
        .unsupportedType, path: bundle.path, name: bank.name + "/" + entry.name, found: entry.type.dtypeName)
    }
    let mappable = entries.filter {
      Weight.Kind($0.type) != nil && $0.isRawExtent && !$0.chunks.isEmpty
    }
    let mapped = Guarded<[ByteKey: Weight]>([:])
    try OrderedJobs<FormatError>.run(count: mappable.count, on: pool) { (turn) throws(FormatError) in
      let entry = mappable[turn.index]
      guard let kind = Weight.Kind(entry.type),
        let (region, range) = try bundle.mappedBytes(of: entry, in: bank)
      else { return }
      let base = unsafe UnsafeRawBufferPointer(rebasing: region.bytes[range])
      guard let start = base.baseAddress, range.lowerBound % kind.alignment == 0 else { return }
      let weight = unsafe Weight(
        start, kind: kind, rows: entry.type.rows, columns: entry.type.columns, owner: region)
      mapped.withValue { $0[ByteKey(entry.name)] = weight }
    }
    var weights = mapped.withValue { $0 }
    let rest = entries.filter { weights[ByteKey($0.name)] == nil }
    let buffers = rest.map { RawBuffer(count: $0.type.rawBytes) }
    try unsafe bundle.decode(rest.map { BankedEntry(bank: bank.name, entry: $0) }, on: pool) {
      (index, offset, bytes) in
      unsafe UnsafeMutableRawBufferPointer(rebasing: buffers[index].bytes[offset..<offset + bytes.count])
        .copyMemory(from: bytes)
    }
    for (entry, buffer) in zip(rest, buffers) {
      weights[ByteKey(entry.name)] = weight(entry.type, buffer)
    }
    return WeightStore(weights, isMapped: rest.isEmpty)
  }

  /// Loads the base of a bundle, wherever its weights are.
  ///
  /// - Throws: `RuntimeError` with `unsupported-type`, `ExpertError`, `FormatError`.
  static func load(_ base: ResolvedBase, on pool: WorkerPool) throws -> WeightStore {
    if let holder = base.holder {
      return try load(
        base.tensors.compactMap { $0.stored?.entry }, of: holder.bank("base"), in: holder, on: pool)
    }
    var weights: [ByteKey: Weight] = [:]
    for (index, tensor) in base.tensors.enumerated() {
      guard FloatValues(tensor.entry.type) != nil else {
        throw RuntimeError(
          .unsupportedType, path: base.path, name: tensor.entry.name, found: tensor.entry.type.dtypeName)
      }
      let buffer = RawBuffer(count: tensor.entry.type.rawBytes)
      try unsafe base.read(
        index, into: UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<tensor.entry.type.rawBytes]))
      weights[ByteKey(tensor.entry.name)] = weight(tensor.entry.type, buffer)
    }
    return WeightStore(weights, isMapped: false)
  }

  /// Takes decoded bytes; float64, which nobody computes with, becomes float32.
  private static func weight(_ type: TensorType, _ buffer: RawBuffer) -> Weight? {
    guard let start = unsafe buffer.bytes.baseAddress else { return nil }
    if let kind = Weight.Kind(type) {
      return unsafe Weight(start, kind: kind, rows: type.rows, columns: type.columns, owner: buffer)
    }
    guard let values = FloatValues(type) else { return nil }
    return Weight.made(rows: type.rows, columns: type.columns) { rows in
      unsafe values.convert(
        UnsafeRawBufferPointer(rebasing: buffer.bytes[..<type.rawBytes]),
        to: UnsafeMutableBufferPointer(start: rows.base, count: type.elementCount))
    }
  }
}

extension TensorType {
  /// Rows of a matrix; 1 for a vector.
  var rows: Int { shape.count > 1 ? shape.dropLast().reduce(1, *) : 1 }
  /// Columns of a matrix; the length of a vector.
  var columns: Int { shape.last ?? 1 }
}
