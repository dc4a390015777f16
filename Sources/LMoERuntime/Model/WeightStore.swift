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

  /// Tensors of a bank that are wanted.
  struct Request {
    let bank: BankEntry
    let entries: [Entry]
  }

  /// Loads entries of a bundle's banks on all workers, one store for each request.
  ///
  /// - Throws: `RuntimeError` with `unsupported-type`, `FormatError`.
  static func load(
    _ requests: [Request], in bundle: Bundle, on pool: WorkerPool
  ) throws -> [WeightStore] {
    for request in requests {
      for entry in request.entries where FloatValues(entry.type) == nil {
        throw RuntimeError(
          .unsupportedType, path: bundle.path, name: request.bank.name + "/" + entry.name,
          found: entry.type.dtypeName)
      }
    }
    let items = requests.flatMap { request in
      request.entries.map { BankedEntry(bank: request.bank.name, entry: $0) }
    }
    var loaded = try bundle.load(items, on: pool) { Weight.Kind($0)?.alignment }[...]
    return requests.map { request in
      var weights: [ByteKey: Weight] = [:]
      weights.reserveCapacity(request.entries.count)
      let isMapped = loaded.prefix(request.entries.count).allSatisfy(\.isMapped)
      for (entry, bytes) in zip(request.entries, loaded) {
        weights[ByteKey(entry.name)] = unsafe weight(entry.type, bytes.bytes, owner: bytes.owner)
      }
      loaded = loaded.dropFirst(request.entries.count)
      return WeightStore(weights, isMapped: isMapped)
    }
  }

  /// Loads the base of a bundle, wherever its weights are.
  ///
  /// - Throws: `RuntimeError` with `unsupported-type`, `ExpertError`, `FormatError`.
  static func load(_ base: ResolvedBase, on pool: WorkerPool) throws -> WeightStore {
    if let holder = base.holder {
      let request = Request(
        bank: try holder.bank("base"), entries: base.tensors.compactMap { $0.stored?.entry })
      return try load([request], in: holder, on: pool)[0]
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
      weights[ByteKey(tensor.entry.name)] = unsafe weight(
        tensor.entry.type, UnsafeRawBufferPointer(buffer.prefix(tensor.entry.type.rawBytes)), owner: buffer)
    }
    return WeightStore(weights, isMapped: false)
  }

  /// Takes the raw bytes of a tensor; float64, which nobody computes with, becomes float32.
  @unsafe private static func weight(
    _ type: TensorType, _ bytes: UnsafeRawBufferPointer, owner: AnyObject
  ) -> Weight? {
    if let kind = Weight.Kind(type) {
      guard let start = bytes.baseAddress else { return nil }
      return unsafe Weight(start, kind: kind, rows: type.rows, columns: type.columns, owner: owner)
    }
    guard let values = FloatValues(type) else { return nil }
    return Weight.made(rows: type.rows, columns: type.columns) { rows in
      unsafe values.convert(bytes, to: UnsafeMutableBufferPointer(start: rows.base, count: type.elementCount))
    }
  }
}

extension TensorType {
  /// Rows of a matrix; 1 for a vector.
  var rows: Int { shape.count > 1 ? shape.dropLast().reduce(1, *) : 1 }
  /// Columns of a matrix; the length of a vector.
  var columns: Int { shape.last ?? 1 }
}
