private import CLMoEKernels
import LMoECore

/// How matrices of one type become one, row below row: as they are, or each transposed.
struct StackPlan: Sendable {
  /// How many there are.
  var count: Int { parts.count }
  /// Rows of the result.
  let rows: Int
  /// Its columns.
  let columns: Int
  /// The bytes that it takes.
  let bytes: Int
  private let parts: [Weight]
  /// Where the result of each begins, in bytes.
  private let offsets: [Int]
  private let kind: Weight.Kind
  private let isTransposing: Bool

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
    var offsets: [Int] = []
    var end = 0
    for part in parts {
      guard part.kind == kind, (isTransposing ? part.rows : part.columns) == columns else { return nil }
      offsets.append(end)
      end += part.bytes
    }
    (self.offsets, bytes) = (offsets, end)
  }

  /// The result in memory of its own.
  func made() -> Weight {
    let buffer = RawBuffer(count: bytes)
    for part in parts.indices { write(part, to: buffer) }
    return weight(in: buffer)
  }

  /// Writes what becomes of one of the matrices to its place in `buffer`, which has room for all.
  func write(_ number: Int, to buffer: RawBuffer) {
    let part = parts[number]
    let to = unsafe UnsafeMutableRawBufferPointer(
      rebasing: buffer.bytes[offsets[number]..<offsets[number] + part.bytes])
    guard let start = to.baseAddress else { return }
    switch (isTransposing, kind) {
    case (false, _): unsafe to.copyMemory(from: UnsafeRawBufferPointer(start: part.base, count: part.bytes))
    case (true, .f32): unsafe lmoe_transpose_32(part.base, part.rows, part.columns, start)
    case (true, _): unsafe lmoe_transpose_16(part.base, part.rows, part.columns, start)
    }
  }

  /// The result, once it is written.
  func weight(in buffer: RawBuffer) -> Weight {
    unsafe Weight(
      UnsafeRawPointer(buffer.bytes.baseAddress.unsafelyUnwrapped), kind: kind, rows: rows, columns: columns,
      owner: buffer)
  }
}
