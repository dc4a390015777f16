private import CLMoEKernels
import LMoECore

/// How matrices of one type become one, row below row: as they are, or each transposed.
struct StackPlan: Sendable {
  private let parts: [Weight]
  private let kind: Weight.Kind
  private let isTransposing: Bool
  private let rows: Int
  private let columns: Int

  /// All rows of all; nil if they differ in type or width, or have blocks that know no rows.
  init?(joining parts: [Weight]) {
    self.init(parts, isTransposing: false)
    guard kind.hasRows else { return nil }
  }

  /// All columns of all, as rows; nil if they differ in type or height, or are blocks.
  init?(transposing parts: [Weight]) {
    self.init(parts, isTransposing: true)
    guard !kind.isBlocks else { return nil }
  }

  private init?(_ parts: [Weight], isTransposing: Bool) {
    guard let first = parts.first else { return nil }
    (self.parts, kind, self.isTransposing) = (parts, first.kind, isTransposing)
    columns = isTransposing ? first.rows : first.columns
    rows = parts.reduce(0) { $0 + (isTransposing ? $1.columns : $1.rows) }
    for part in parts where part.kind != kind || (isTransposing ? part.rows : part.columns) != columns {
      return nil
    }
  }

  /// The bytes that the result takes.
  var bytes: Int { parts.reduce(0) { $0 + $1.bytes } }

  /// The result in memory of its own.
  func made() -> Weight {
    let buffer = RawBuffer(count: bytes)
    write(to: buffer, at: 0)
    return weight(in: buffer, at: 0)
  }

  /// Writes the result.
  func write(to buffer: RawBuffer, at offset: Int) {
    var end = offset
    for part in parts {
      let to = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[end..<end + part.bytes])
      end += part.bytes
      guard let start = to.baseAddress else { continue }
      switch (isTransposing, kind) {
      case (false, _): unsafe to.copyMemory(from: UnsafeRawBufferPointer(start: part.base, count: part.bytes))
      case (true, .f32): unsafe lmoe_transpose_32(part.base, part.rows, part.columns, start)
      case (true, _): unsafe lmoe_transpose_16(part.base, part.rows, part.columns, start)
      }
    }
  }

  /// The result, once it is written.
  func weight(in buffer: RawBuffer, at offset: Int) -> Weight {
    unsafe Weight(
      UnsafeRawPointer(buffer.bytes.baseAddress.unsafelyUnwrapped) + offset, kind: kind, rows: rows,
      columns: columns, owner: buffer)
  }

  /// Carries plans out on all workers; the results lie together.
  static func made(_ plans: [StackPlan], on pool: WorkerPool) -> [Weight] {
    var offsets: [Int] = []
    var end = 0
    for plan in plans {
      offsets.append(end)
      end += (plan.bytes + 63) / 64 * 64
    }
    let buffer = RawBuffer(count: end)
    let places = offsets
    pool.run(items: plans.count) { item, _ in plans[item].write(to: buffer, at: places[item]) }
    return zip(plans, places).map { $0.weight(in: buffer, at: $1) }
  }
}
