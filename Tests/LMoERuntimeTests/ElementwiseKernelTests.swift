import CLMoEKernels
import Testing

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Passes over activations against double precision, with every instruction set that this processor has.
///
/// Every length up to a few vectors; all memory lies between pages that cannot be touched.
@Suite struct ElementwiseKernelTests {
  /// Values in guarded memory, against the page before and against the one behind.
  static func guarded(_ values: [Float], _ body: (GuardedMemory<Float>) -> Void) {
    for side in GuardedMemory<Float>.Side.allCases { body(GuardedMemory(values, side)) }
  }

  static func isClose(_ got: Float, _ expected: Double, _ tolerance: Double) -> Bool {
    if expected.isNaN { return got.isNaN }
    if expected.isInfinite { return Double(got) == expected }
    return abs(Double(got) - expected) <= tolerance * abs(expected) + 1e-37
  }

  @Test(arguments: Kernels.variants) func `RMS norm`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(11)
      for width in Array(1...70) + [576] {
        for kind in WeightKind.allCases {
          let (stride, rows) = (width + numbers.integer(0...2), numbers.integer(1...3))
          let bits = (0..<width).map { _ in kind.bits(&numbers) }
          let weight = GuardedMemory(kind.bytes(bits))
          let values = numbers.floats((rows - 1) * stride + width, scale: 3)
          func expected(_ index: Int) -> Double {
            let (row, column) = (index / stride, index % stride)
            let squares = values[row * stride..<row * stride + width].reduce(0) {
              $0 + Double($1) * Double($1)
            }
            let scale = 1 / (squares / Double(width) + 1e-5).squareRoot()
            return Double(values[index]) * scale * Double(kind.value(bits[column]))
          }
          Self.guarded(values) { x in
            let out = GuardedMemory([Float](repeating: 7, count: values.count))
            lmoe_rms_norm(x.base, stride, rows, width, weight.base, kind.code, 1e-5, out.base, stride)
            #expect(x.array == values)
            // In place.
            lmoe_rms_norm(x.base, stride, rows, width, weight.base, kind.code, 1e-5, x.base, stride)
            for index in 0..<values.count {
              let isIn = index % stride < width
              #expect(isIn ? Self.isClose(out[index], expected(index), 3e-7) : out[index] == 7)
              #expect(x[index] == (isIn ? out[index] : values[index]))
            }
          }
        }
      }
    }
  }

  /// The mean of squares is taken in double precision: large activations do not overflow.
  @Test(arguments: Kernels.variants) func `RMS norm of large activations`(variant: String) {
    Kernels.with(variant) {
      var x = [Float](repeating: 3e30, count: 33)
      let weight = [Float](repeating: 2, count: 33)
      lmoe_rms_norm(x, 33, 1, 33, weight, Int32(LMOE_F32), 1e-5, &x, 33)
      #expect(x.allSatisfy { abs($0 - 2) < 1e-6 })
    }
  }

  @Test(arguments: Kernels.variants) func `SiLU times up`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(12)
      for count in 0...70 {
        let (gate, up) = (numbers.floats(count, scale: 12), numbers.floats(count))
        Self.guarded(up) { second in
          Self.guarded(gate) { first in
            lmoe_silu_multiply(first.base, second.base, count)
            for index in 0..<count {
              let exact = Double(gate[index]) / (1 + exp(-Double(gate[index]))) * Double(up[index])
              #expect(Self.isClose(first[index], exact, 4e-7), "\(gate[index])")
            }
          }
        }
      }
    }
  }

  /// Over the whole range of float32, in every lane.
  @Test(arguments: Kernels.variants) func `SiLU of every magnitude`(variant: String) {
    Kernels.with(variant) {
      let gate = (0..<UInt32(1 << 18)).map { Float(bitPattern: $0 << 14 | 0x155) }.filter { !$0.isNaN }
      var out = gate
      lmoe_silu_multiply(&out, [Float](repeating: 1, count: gate.count), gate.count)
      let wrong = zip(gate, out).filter { x, got in
        // Where e^-x is no float any more, what is left is smaller than 1e-36.
        if x < -88 { return !(abs(got) < 1e-36) }
        return !Self.isClose(got, Double(x) / (1 + exp(-Double(x))), 4e-7)
      }
      #expect(wrong.isEmpty, "\(wrong.prefix(3))")
      var special: [Float] = [
        .nan, .infinity, 0, -0.0, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 1, .nan,
      ]
      lmoe_silu_multiply(&special, [1, 1, 1, 1, 1, 1, .nan, 0], 8)
      #expect(special[0].isNaN && special[1] == .infinity && special[2] == 0 && special[3] == 0)
      #expect(
        special[4] == .greatestFiniteMagnitude && special[5] == 0 && special[6].isNaN && special[7].isNaN)
    }
  }

  @Test(arguments: Kernels.variants) func `sums and biases`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(13)
      for count in 0...70 {
        let (left, right) = (numbers.floats(count), numbers.floats(count))
        Self.guarded(right) { second in
          Self.guarded(left) { first in
            lmoe_add(first.base, second.base, count)
            #expect(first.array == zip(left, right).map { $0 + $1 } && second.array == right)
          }
        }
        for kind in WeightKind.allCases {
          let bits = (0..<count).map { _ in kind.bits(&numbers) }
          let bias = GuardedMemory(kind.bytes(bits))
          let stride = count + numbers.integer(0...2)
          let values = numbers.floats(2 * stride + count)
          Self.guarded(values) { x in
            lmoe_add_bias(x.base, stride, 3, count, bias.base, kind.code)
            for index in 0..<values.count {
              let column = stride == 0 ? 0 : index % stride
              #expect(x[index] == values[index] + (column < count ? kind.value(bits[column]) : 0))
            }
          }
        }
      }
    }
  }

  @Test(arguments: Kernels.variants) func rotation(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(14)
      for half in 0...70 {
        let (cosines, sines) = (numbers.floats(half), numbers.floats(half))
        let values = numbers.floats(3 * 2 * half)
        let (c, s) = (GuardedMemory(cosines), GuardedMemory(sines))
        Self.guarded(values) { x in
          lmoe_rotate(x.base, 3, 2 * half, c.base, s.base)
          for head in 0..<3 {
            for i in 0..<half {
              let (a, b) = (Double(values[head * 2 * half + i]), Double(values[head * 2 * half + half + i]))
              let (cosine, sine) = (Double(cosines[i]), Double(sines[i]))
              let first = Double(x[head * 2 * half + i]), second = Double(x[head * 2 * half + half + i])
              #expect(
                abs(first - (a * cosine - b * sine)) < 2e-7 && abs(second - (b * cosine + a * sine)) < 2e-7)
            }
          }
        }
      }
    }
  }

  @Test(arguments: Kernels.variants) func `softmax and its logarithm`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(15)
      for count in Array(1...70) + [1000, 4097] {
        for scale in [Float(1), 30, 1e4, 1e38] {
          var scores = numbers.floats(count, scale: scale)
          // Some that are masked, but not the last.
          for index in 0..<count - 1 where numbers.integer(0...4) == 0 { scores[index] = -.infinity }
          let largest = Double(scores.max() ?? 0)
          let exact = scores.map { exp(Double($0) - largest) }
          let sum = exact.reduce(0, +)
          Self.guarded(scores) { x in
            let precise = lmoe_log_sum_exp(x.base, count)
            #expect(x.array == scores)
            let rough = lmoe_softmax(x.base, count)
            let logarithm = largest + log(sum)
            #expect(abs(precise - logarithm) <= 3e-7 * max(1, abs(logarithm)), "\(count) of \(scale)")
            #expect(abs(Double(rough) - logarithm) <= 1e-6 * max(1, abs(logarithm)), "\(count) of \(scale)")
            for index in 0..<count {
              // The difference of two large floats is itself rounded, then raised.
              let distance = largest - Double(scores[index])
              let tolerance = 1e-6 + (distance.isFinite ? distance * 6e-8 : 0)
              #expect(Self.isClose(x[index], exact[index] / sum, tolerance), "\(scores[index])")
              if scores[index] == -.infinity { #expect(x[index] == 0) }
            }
          }
        }
      }
    }
  }

  @Test(arguments: Kernels.variants) func `softmax of what is no number`(variant: String) {
    Kernels.with(variant) {
      for count in 1...40 {
        var masked = [Float](repeating: -.infinity, count: count)
        #expect(lmoe_log_sum_exp(masked, count) == -.infinity)
        #expect(lmoe_softmax(&masked, count) == -.infinity)
        #expect(masked.allSatisfy { $0 == 0 })
        for place in 0..<count {
          for bad in [Float.nan, .infinity] {
            var scores = (0..<count).map { $0 % 3 == 0 ? -.infinity : Float($0) }
            scores[place] = bad
            if bad.isNaN { #expect(lmoe_log_sum_exp(scores, count).isNaN) }
            #expect(lmoe_softmax(&scores, count).isNaN && scores.allSatisfy(\.isNaN), "\(count), \(place)")
          }
        }
      }
      #expect(lmoe_softmax(nil, 0) == -.infinity && lmoe_log_sum_exp(nil, 0) == -.infinity)
    }
  }

  static func half(_ value: Float) -> UInt16 {
    var out: UInt16 = 0
    withUnsafePointer(to: value) { lmoe_to_f16($0, 1, &out) }
    return out
  }

  @Test(arguments: Kernels.variants) func `every half float comes back`(variant: String) {
    Kernels.with(variant) {
      let values = (0..<UInt32(65536)).map(WeightKind.f16.value)
      var halves = [UInt16](repeating: 0, count: values.count)
      lmoe_to_f16(values, values.count, &halves)
      for (bits, half) in halves.enumerated() {
        let isNaN = bits & 0x7FFF > 0x7C00
        #expect(isNaN ? half & 0x7FFF > 0x7C00 : Int(half) == bits)
      }
    }
  }

  @Test(arguments: Kernels.variants) func `half floats are rounded to the nearest, ties to even`(
    variant: String
  ) {
    Kernels.with(variant) {
      for bits in UInt32(0)...0x7BFF {
        let low = WeightKind.f16.value(bits)
        // The largest's next one would be 65536: from halfway to it on, there is only infinity.
        let high = bits == 0x7BFF ? 65536 : WeightKind.f16.value(bits + 1)
        let middle = (low + high) / 2
        let even = bits & 1 == 0 ? bits : bits + 1
        for (value, expected) in [(middle.nextDown, bits), (middle, even), (middle.nextUp, bits + 1)] {
          #expect(Self.half(value) == UInt16(expected), "\(value)")
          #expect(Self.half(-value) == UInt16(expected) | 0x8000, "\(value)")
        }
      }
      for value in [Float(65536), 1e6, .greatestFiniteMagnitude, .infinity] {
        #expect(Self.half(value) == 0x7C00 && Self.half(-value) == 0xFC00)
      }
      for value in [Float.leastNonzeroMagnitude, .leastNormalMagnitude, 1e-9] {
        #expect(Self.half(value) == 0 && Self.half(-value) == 0x8000)
      }
      // A NaN keeps its sign and the upper bits of its payload, and is quiet.
      for bits in [UInt32(0x7F80_0001), 0x7FC0_0000, 0xFF80_2000, 0x7FFF_FFFF] {
        let expected = UInt16(bits >> 16 & 0x8000 | 0x7E00 | bits >> 13 & 0x3FF)
        var values = [bits, bits]
        var out: [UInt16] = [0, 0]
        values.withUnsafeMutableBytes {
          lmoe_to_f16($0.baseAddress?.assumingMemoryBound(to: Float.self), 2, &out)
        }
        #expect(out == [expected, expected])
      }
    }
  }

  @Test(arguments: Kernels.variants) func `half floats of every length`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(16)
      for count in 0...70 {
        let values = numbers.floats(count)
        Self.guarded(values) { x in
          for side in GuardedMemory<UInt16>.Side.allCases {
            let out = GuardedMemory([UInt16](repeating: 0, count: count), side)
            lmoe_to_f16(x.base, count, out.base)
            #expect(out.array == values.map(Self.half))
          }
        }
      }
    }
  }
}
