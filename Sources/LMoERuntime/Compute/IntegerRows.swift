import CLMoEKernels
import LMoECore

/// Rows of x in fifteen bits, with which integers of quantized weights are multiplied.
///
/// They are made once for all products that run together. One thread at a time asks for them.
final class IntegerRows {
  private var buffer = RawBuffer(count: 0)
  private var capacity = 0

  /// One input of any number of terms.
  private struct Source: Sendable {
    let term: Compute.Term
    let count: Int
    /// Where its rows are in the buffer.
    let offset: Int

    func isInput(of other: Compute.Term, _ count: Int) -> Bool {
      unsafe term.kernel.x == other.kernel.x && term.kernel.x_stride == other.kernel.x_stride
        && term.depth == other.depth && self.count == count
    }
  }

  /// Adds them to all terms that take integers.
  ///
  /// - Parameters:
  ///   - terms: The terms.
  ///   - counts: Rows of x, for each term.
  ///   - pool: The workers.
  func add(to terms: inout [Compute.Term], _ counts: [Int], _ pool: WorkerPool) {
    var sources: [Source] = []
    var places: [(term: Int, source: Int)] = []
    var needed = 0
    for (index, term) in terms.enumerated() where term.takesIntegers {
      if let known = sources.firstIndex(where: { $0.isInput(of: term, counts[index]) }) {
        places.append((index, known))
        continue
      }
      places.append((index, sources.count))
      sources.append(Source(term: term, count: counts[index], offset: needed))
      needed += counts[index] * lmoe_integer_row_bytes(term.depth)
    }
    if places.isEmpty { return }
    if needed > capacity {
      capacity = needed
      buffer = RawBuffer(count: needed)
    }
    fill(sources, pool)
    guard let base = unsafe buffer.bytes.baseAddress else { return }
    for place in places {
      unsafe terms[place.term].kernel.x_integers = UnsafeRawPointer(base + sources[place.source].offset)
    }
  }

  /// Below that many elements the workers are not asked.
  private static let fewElements = 16_384

  private func fill(_ sources: [Source], _ pool: WorkerPool) {
    let buffer = buffer
    for source in sources {
      let parts = source.count * source.term.depth < Self.fewElements ? 1 : min(source.count, 4 * pool.count)
      pool.run(items: parts) { part, _ in
        let rows = part * source.count / parts..<(part + 1) * source.count / parts
        let term = source.term.from(row: rows.lowerBound)
        guard let base = unsafe buffer.bytes.baseAddress else { return }
        unsafe lmoe_integer_rows(
          term.kernel.x, term.kernel.x_stride, rows.count, term.depth,
          base + source.offset + rows.lowerBound * lmoe_integer_row_bytes(term.depth))
      }
    }
  }
}

extension Compute.Term {
  /// Whether its sums can be of integers.
  fileprivate var takesIntegers: Bool {
    unsafe kernel.block > 0 && kernel.is_transposed != 0
      && lmoe_has_integers(kernel.kind, kernel.block) != 0
  }
}
