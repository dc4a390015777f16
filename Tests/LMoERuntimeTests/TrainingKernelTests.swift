import CLMoEKernels
import Testing

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Passes that training needs, against double precision, with every instruction set that this processor has.
///
/// Every length up to a few vectors and some large ones; all memory lies between pages that cannot be touched.
/// A bound of `error` is a share of the largest value of the whole result; where a result is a sum that may
/// come to nothing, the bound is one of `difference`, beside terms of about 1.
@Suite struct TrainingKernelTests {
  static let counts = Array(0...40) + [255, 1000, 4097]

  /// The largest difference of any value.
  static func difference(_ got: [Float], _ expected: [Double]) -> Double {
    guard got.count == expected.count, got.allSatisfy({ $0.isFinite }) else { return .infinity }
    return zip(got, expected).reduce(0) { max($0, abs(Double($1.0) - $1.1)) }
  }

  /// The largest difference, as a share of the largest expected value.
  static func error(_ got: [Float], _ expected: [Double]) -> Double {
    difference(got, expected) / expected.reduce(1e-30) { max($0, abs($1)) }
  }

  /// Runs `body` for every count, with memory against the page before and against the one behind.
  static func each(
    _ variant: String, seed: Int, counts: [Int] = counts,
    _ body: (_ count: Int, _ side: GuardedMemory<Float>.Side, inout Numbers) -> Void
  ) {
    Kernels.with(variant) {
      var numbers = Numbers(seed)
      for count in counts {
        for side in GuardedMemory<Float>.Side.allCases { body(count, side, &numbers) }
      }
    }
  }

  static func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

  @Test(arguments: Kernels.variants) func `SiLU product into another place`(variant: String) {
    Self.each(variant, seed: 21) { count, side, numbers in
      let (gates, ups) = (numbers.floats(count, scale: 12), numbers.floats(count))
      let (gate, up) = (GuardedMemory(gates, side), GuardedMemory(ups, side))
      let out = GuardedMemory([Float](repeating: 7, count: count), side)
      lmoe_silu_product(gate.base, up.base, count, out.base)
      let exact = zip(gates, ups).map { Double($0) * Self.sigmoid(Double($0)) * Double($1) }
      #expect(Self.error(out.array, exact) <= 3e-7 && gate.array == gates && up.array == ups)
      lmoe_silu_product(gate.base, up.base, count, up.base)
      #expect(up.array == out.array)
    }
  }

  @Test(arguments: Kernels.variants) func `gradient of SiLU times up`(variant: String) {
    Self.each(variant, seed: 22) { count, side, numbers in
      let (gates, ups) = (numbers.floats(count, scale: 20), numbers.floats(count))
      let gradients = numbers.floats(count)
      func memory(_ values: [Float]) -> GuardedMemory<Float> { GuardedMemory(values, side) }
      let (gate, up, d) = (memory(gates), memory(ups), memory(gradients))
      let (gateOut, upOut) = (memory(gates), memory(ups))
      lmoe_silu_product_backward(gate.base, up.base, d.base, count, gateOut.base, upOut.base)
      let exactGate = (0..<count).map { i in
        let (x, s) = (Double(gates[i]), Self.sigmoid(Double(gates[i])))
        return Double(gradients[i]) * Double(ups[i]) * (s + x * s * (1 - s))
      }
      let exactUp = (0..<count).map { i in
        Double(gradients[i]) * Double(gates[i]) * Self.sigmoid(Double(gates[i]))
      }
      #expect(Self.error(gateOut.array, exactGate) <= 4e-7 && Self.error(upOut.array, exactUp) <= 3e-7)
      #expect(gate.array == gates && up.array == ups && d.array == gradients)
      // In place: over the gate and the up, and over the gate and the gradient.
      let (gate2, d2) = (memory(gates), memory(gradients))
      lmoe_silu_product_backward(gate2.base, up.base, d2.base, count, gate2.base, d2.base)
      #expect(gate2.array == gateOut.array && d2.array == upOut.array)
      lmoe_silu_product_backward(gate.base, up.base, d.base, count, gate.base, up.base)
      #expect(gate.array == gateOut.array && up.array == upOut.array)
    }
  }

  /// Where e^-x is no float any more there is still a slope, and a NaN is not lost.
  @Test(arguments: Kernels.variants) func `gradient of SiLU far out`(variant: String) {
    Kernels.with(variant) {
      let gate: [Float] = [-3e38, -1000, -90, -88, -40, 0, 17, 40, 100, 3e38, .nan, 1]
      let ones = [Float](repeating: 1, count: gate.count)
      var (first, second) = (ones, ones)
      lmoe_silu_product_backward(gate, ones, ones, gate.count, &first, &second)
      for i in 0..<10 {
        let (x, s) = (Double(gate[i]), Self.sigmoid(Double(gate[i])))
        let slope = x < -700 ? 0 : s + x * s * (1 - s)
        #expect(abs(Double(first[i]) - slope) <= 3e-7, "\(x)")
        let product = x < -700 ? 0 : x * s
        #expect(abs(Double(second[i]) - product) <= 3e-7 * max(1, abs(product)), "\(x)")
      }
      #expect(first[10].isNaN && second[10].isNaN && !first[11].isNaN)
    }
  }

  @Test(arguments: Kernels.variants) func `rotation back`(variant: String) {
    Self.each(variant, seed: 23, counts: Array(0...40) + [255]) { half, side, numbers in
      let (cosines, sines) = (numbers.floats(half), numbers.floats(half))
      let values = numbers.floats(6 * half)
      let (c, s) = (GuardedMemory(cosines, side), GuardedMemory(sines, side))
      let x = GuardedMemory(values, side)
      lmoe_rotate_backward(x.base, 3, 2 * half, c.base, s.base)
      let exact = values.indices.map { index in
        let (i, isFirst) = (index % half.nonzero, index % (2 * half.nonzero) < half)
        let other = Double(values[isFirst ? index + half : index - half])
        return Double(values[index]) * Double(cosines[i]) + (isFirst ? other : -other) * Double(sines[i])
      }
      #expect(Self.difference(x.array, exact) <= 3e-7)
    }
  }

  /// <rotate(x), y> = <x, back(y)>, with any magnitude in cosines and sines.
  @Test(arguments: Kernels.variants) func `the rotation back is the transpose`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(24)
      let (cosines, sines) = (numbers.floats(33, scale: 3), numbers.floats(33, scale: 3))
      let (x, y) = (numbers.floats(132), numbers.floats(132))
      var (there, back) = (x, y)
      lmoe_rotate(&there, 2, 66, cosines, sines)
      lmoe_rotate_backward(&back, 2, 66, cosines, sines)
      func product(_ a: [Float], _ b: [Float]) -> Double {
        zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) }
      }
      #expect(abs(product(there, y) - product(x, back)) <= 1e-5)
    }
  }

  @Test(arguments: Kernels.variants) func `exponentials and their sums by blocks of 32`(variant: String) {
    Self.each(variant, seed: 29) { count, side, numbers in
      let (values, minus) = (numbers.floats(count, scale: 20), numbers.float() * 9)
      let x = GuardedMemory(values, side)
      var sums = [Double](repeating: -1, count: (count + 31) / 32 + 1)
      lmoe_exp_sums(x.base, count, minus, &sums)
      let exact = values.map { exp(Double($0 - minus)) }
      #expect(Self.error(x.array, exact) <= 2e-7)
      for block in 0..<sums.count - 1 {
        let part = x.array[block * 32..<min(count, block * 32 + 32)].reduce(0) { $0 + Double($1) }
        #expect(abs(sums[block] - part) <= 1e-6 * part)
      }
      // Nothing beyond the last block.
      #expect(sums.last == -1)
    }
    Kernels.with(variant) {
      var x: [Float] = [.nan, -.infinity, 0]
      var sums: [Double] = [0]
      lmoe_exp_sums(&x, 3, 0, &sums)
      #expect(x[0].isNaN && x[1] == 0 && x[2] == 1 && sums[0].isNaN)
    }
  }

  @Test(arguments: Kernels.variants) func `exponentials from one end to the other`(variant: String) {
    Kernels.with(variant) {
      let values = stride(from: Float(-200), through: 100, by: 0.0137).map { $0 }
      var x = values
      var sums = [Double](repeating: 0, count: (x.count + 31) / 32)
      lmoe_exp_sums(&x, x.count, 0, &sums)
      let wrong = values.indices.filter { index in
        let (got, exact) = (Double(x[index]), exp(Double(values[index])))
        switch values[index] {
        case ..<(-87.33): return !(got >= 0 && got <= Double(Float.leastNormalMagnitude) * 1.01)
        case ..<88.37: return !(abs(got - exact) <= 2e-7 * exact)
        case ..<88.73: return !(got.isInfinite || abs(got - exact) <= 2e-7 * exact)
        default: return !got.isInfinite
        }
      }
      let some = wrong.prefix(5).map { (values[$0], x[$0]) }
      #expect(some.isEmpty, "\(some)")
      let isZeroFarBelow = zip(values, x).allSatisfy { $0 > -104 || $1 == 0 }
      #expect(isZeroFarBelow)
      // Whatever the other bits of a NaN are.
      var odd = (0..<40).map { Float(nan: Float.RawSignificand($0 * 7), signaling: false) }
      lmoe_exp_sums(&odd, odd.count, 0, &sums)
      let areNumbers = odd.filter { !$0.isNaN }
      #expect(areNumbers.isEmpty)
    }
  }

  @Test(arguments: Kernels.variants) func `sums and multiples`(variant: String) {
    Self.each(variant, seed: 27) { count, side, numbers in
      let (left, right) = (numbers.floats(count), numbers.floats(count))
      let (x, y) = (GuardedMemory(left, side), GuardedMemory(right, side))
      let products = zip(left, right).map { Double($0) * Double($1) }
      let most = products.reduce(0) { $0 + abs($1) }
      #expect(
        abs(Double(lmoe_dot(x.base, y.base, count)) - products.reduce(0, +)) <= 1e-6 * most, "\(count)")
      let out = GuardedMemory(right, side)
      lmoe_add_scaled(out.base, x.base, 0.3, count)
      let sums = zip(left, right).map { Double($1) + Double($0) * Double(Float(0.3)) }
      #expect(Self.difference(out.array, sums) <= 2e-7)
      lmoe_scale(x.base, 0.3, count, out.base)
      #expect(out.array == left.map { $0 * 0.3 } && x.array == left && y.array == right)
      lmoe_scale(x.base, 0.3, count, x.base)
      #expect(x.array == out.array)
    }
  }
}

extension Int {
  /// Itself, or 1 in place of 0, to divide by.
  fileprivate var nonzero: Int { self == 0 ? 1 : self }
}
