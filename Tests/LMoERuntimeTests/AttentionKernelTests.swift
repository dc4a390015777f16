import CLMoEKernels
import Testing

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Attention of many queries, and its way back, against double precision.
///
/// With every instruction set that this processor has; all memory lies between pages that cannot be touched.
@Suite struct AttentionKernelTests {
  /// Keys, values and queries of one head among others.
  struct Sample: CustomTestStringConvertible {
    var rows: Int
    var width: Int
    var position = 0
    var window = 0
    var kind = WeightKind.f32
    /// Heads of queries that read the keys.
    var group = 1

    var testDescription: String { "\(rows) × \(width) from \(position), window \(window), \(kind), \(group)" }
    /// Keys that there are.
    var count: Int { position + rows }
    /// Elements from one row to the next: there are other heads beside this one.
    var stride: Int { width + 5 }

    /// The keys that a row sees.
    func seen(_ row: Int) -> ClosedRange<Int> {
      let place = position + row
      return (window > 0 ? max(0, place - window + 1) : 0)...place
    }
  }

  /// softmax(q·kᵀ), in double precision.
  private static func shares(_ scores: [Double]) -> [Double] {
    let most = scores.max() ?? 0
    let values = scores.map { exp($0 - most) }
    let sum = values.reduce(0, +)
    return values.map { $0 / sum }
  }

  private static func dot(_ x: ArraySlice<Float>, _ y: ArraySlice<Float>) -> Double {
    zip(x, y).reduce(0) { $0 + Double($1.0) * Double($1.1) }
  }

  static let widths = [1, 3, 4, 7, 8, 15, 16, 17, 31, 48, 64, 80, 100, 128]

  /// Every number of rows, with widths, places, windows and types that come up in turn.
  static let samples = (1...96).map { rows in
    Sample(
      rows: rows, width: widths[rows % widths.count], position: [0, 1, 31, 63, 64, 65, 150][rows * 5 % 7],
      window: [0, 0, 1, 5, 64, 70, 1000][rows * 3 % 7], kind: WeightKind.allCases[rows % 3])
  }

  @Test(arguments: Kernels.variants) func `every number of queries`(variant: String) {
    var numbers = Numbers(41)
    for sample in Self.samples {
      let (d, stride, count) = (sample.width, sample.stride, sample.count)
      let queries = numbers.floats(sample.rows * stride - 5, scale: 3 / Float(d).squareRoot())
      let bits = (0..<2).map { _ in (0..<count * stride - 5).map { _ in sample.kind.bits(&numbers) } }
      let keys = bits[0].map { sample.kind.value($0) }, values = bits[1].map { sample.kind.value($0) }
      var expected: [Double] = []
      for row in 0..<sample.rows {
        let query = queries[row * stride..<row * stride + d]
        let seen = sample.seen(row)
        let shares = Self.shares(seen.map { Self.dot(query, keys[$0 * stride..<$0 * stride + d]) })
        for column in 0..<d {
          expected.append(zip(seen, shares).reduce(0) { $0 + $1.1 * Double(values[$1.0 * stride + column]) })
        }
      }
      for side in GuardedMemory<Float>.Side.allCases {
        let place: GuardedMemory<UInt8>.Side = side == .start ? .start : .end
        let memory = bits.map { GuardedMemory(sample.kind.bytes($0), place) }
        let q = GuardedMemory(queries, side)
        let whole = Self.attend(sample, 0..<sample.rows, q, memory[0].base, memory[1].base, variant)
        #expect(TrainingKernelTests.difference(whole.out, expected) <= 3e-6, "\(sample.testDescription)")
        // A row is the same in whatever block it is.
        let middle = sample.rows / 3
        let parts = [0..<middle, middle..<sample.rows].filter { !$0.isEmpty }.map {
          Self.attend(sample, $0, q, memory[0].base, memory[1].base, variant)
        }
        #expect(parts.flatMap(\.out) == whole.out, "\(sample.testDescription)")
        #expect(parts.flatMap(\.shares) == whole.shares)
      }
    }
  }

  private static func attend(
    _ sample: Sample, _ rows: Range<Int>, _ queries: GuardedMemory<Float>, _ keys: UnsafeRawPointer,
    _ values: UnsafeRawPointer, _ variant: String
  ) -> (out: [Float], largest: [Float], shares: [Float]) {
    let (d, stride) = (sample.width, sample.stride)
    let out = GuardedMemory([Float](repeating: 7, count: (rows.count - 1) * stride + d))
    let largest = GuardedMemory([Float](repeating: 7, count: rows.count))
    let shares = GuardedMemory([Float](repeating: 7, count: rows.count))
    let scratch = Scratch(lmoe_attention_scratch(d))
    var attention = lmoe_attention(
      queries: queries.base + rows.lowerBound * stride, query_stride: stride, out: out.base,
      out_stride: stride,
      largest: largest.base, shares: shares.base, rows: rows.count, width: d, keys: keys, values: values,
      key_stride: stride, value_stride: stride, kind: sample.kind.code,
      position: sample.position + rows.lowerBound, window: sample.window)
    Kernels.with(variant) { lmoe_attend(&attention, scratch.base) }
    // What lies between the rows is others'.
    for row in 0..<rows.count - 1 {
      for column in d..<stride where out[row * stride + column] != 7 { Issue.record("\(sample)") }
    }
    return (
      (0..<rows.count).flatMap { row in (0..<d).map { out[row * stride + $0] } }, largest.array, shares.array
    )
  }

  /// 64-byte aligned, and full of what is no number.
  final class Scratch {
    let base: UnsafeMutablePointer<Float>
    init(_ count: Int) {
      base = UnsafeMutableRawPointer.allocate(byteCount: count * 4, alignment: 64)
        .bindMemory(to: Float.self, capacity: count)
      base.update(repeating: .nan, count: count)
    }
    deinit { base.deallocate() }
  }

  // MARK: The way back

  static let gradientSamples =
    (1...60).map {
      Sample(rows: $0, width: widths[$0 % widths.count], window: [0, 0, 1, 7][$0 % 4], group: 1 + $0 % 3)
    }
    + [95, 96, 97, 130, 192, 200].map { Sample(rows: $0, width: 20, window: $0 % 3 == 0 ? 50 : 0, group: 2) }
    + [Sample(rows: 200, width: 20, window: 15)]

  @Test(arguments: Kernels.variants) func `gradients of queries, keys and values`(variant: String) {
    var numbers = Numbers(42)
    for sample in Self.gradientSamples {
      let (rows, d, group) = (sample.rows, sample.width, sample.group)
      let wide = group * d + 3
      let queries = numbers.floats(rows * wide - 3, scale: 3 / Float(d).squareRoot())
      let gradients = numbers.floats(rows * wide - 3)
      let (keys, values) = (
        numbers.floats(rows * sample.stride - 5), numbers.floats(rows * sample.stride - 5)
      )
      var exact = (
        q: [Double](repeating: 0, count: queries.count), k: [Double](repeating: 0, count: keys.count),
        v: [Double](repeating: 0, count: keys.count)
      )
      var sums = [Float](repeating: 0, count: 2 * group * rows)
      var deltas = [Float](repeating: 0, count: group * rows)
      for head in 0..<group {
        for row in 0..<rows {
          let first = row * wide + head * d
          let (query, gradient) = (queries[first..<first + d], gradients[first..<first + d])
          let seen = sample.seen(row)
          func part(_ x: [Float], _ key: Int) -> ArraySlice<Float> {
            x[key * sample.stride..<key * sample.stride + d]
          }
          let scores = seen.map { Self.dot(query, part(keys, $0)) }
          let shares = Self.shares(scores)
          let flows = seen.map { Self.dot(gradient, part(values, $0)) }
          let delta = zip(shares, flows).reduce(0) { $0 + $1.0 * $1.1 }
          let most = scores.max() ?? 0
          sums[2 * head * rows + row] = Float(most)
          sums[(2 * head + 1) * rows + row] = Float(1 / scores.reduce(0) { $0 + exp($1 - most) })
          deltas[head * rows + row] = Float(delta)
          for (index, key) in seen.enumerated() {
            let slope = shares[index] * (flows[index] - delta)
            for column in 0..<d {
              let at = key * sample.stride + column
              exact.q[first + column] += slope * Double(keys[at])
              exact.k[at] += slope * Double(queries[first + column])
              exact.v[at] += shares[index] * Double(gradients[first + column])
            }
          }
        }
      }
      for side in GuardedMemory<Float>.Side.allCases {
        let inputs = [queries, gradients, keys, values, sums, deltas].map { GuardedMemory($0, side) }
        let outputs = [exact.q, exact.k, exact.v].map {
          GuardedMemory([Float](repeating: 0, count: $0.count), side)
        }
        let scratch = Scratch(lmoe_attention_gradient_scratch(rows, d))
        var call = lmoe_attention_gradient(
          rows: rows, width: d, group: group, window: sample.window, queries: inputs[0].base,
          gradients: inputs[1].base, query_stride: wide, gradient_stride: wide, keys: inputs[2].base,
          values: inputs[3].base, key_stride: sample.stride, largest: inputs[4].base,
          shares: inputs[4].base + rows, deltas: inputs[5].base, sums_stride: 2 * rows, deltas_stride: rows,
          query_gradients: outputs[0].base, key_gradients: outputs[1].base, value_gradients: outputs[2].base,
          query_gradient_stride: wide, key_gradient_stride: sample.stride)
        Kernels.with(variant) { lmoe_attend_backward(&call, scratch.base) }
        for (output, expected) in zip(outputs, [exact.q, exact.k, exact.v]) {
          // Beside terms of about 1, of which a key has as many as there are queries.
          #expect(TrainingKernelTests.difference(output.array, expected) <= 4e-6, "\(sample.testDescription)")
        }
        #expect(inputs[0].array == queries && inputs[3].array == values)
      }
    }
  }

  @Test(arguments: Kernels.variants) func `where nothing is seen, nothing comes out`(variant: String) {
    let sample = Sample(rows: 20, width: 16)
    let queries = GuardedMemory([Float](repeating: 1, count: 20 * sample.stride))
    let keys = GuardedMemory([Float](repeating: -.infinity, count: 20 * sample.stride))
    let values = GuardedMemory([Float](repeating: 2, count: 20 * sample.stride))
    let found = Self.attend(sample, 0..<20, queries, keys.base, values.base, variant)
    #expect(Set(found.out) == [0] && Set(found.shares) == [0] && Set(found.largest) == [0])
    // What is no number stays none.
    keys[3] = .nan
    let spoilt = Self.attend(sample, 0..<20, queries, keys.base, values.base, variant)
    let isSpoilt = spoilt.out.allSatisfy { $0.isNaN }
    #expect(isSpoilt)
  }
}
