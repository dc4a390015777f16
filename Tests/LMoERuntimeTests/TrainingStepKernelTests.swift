import CLMoEKernels
import Testing

/// The optimiser's step and dropout, with every instruction set that this processor has.
@Suite struct TrainingStepKernelTests {
  /// Ten steps against the formula in double precision; for a large and a small beta1, which round differently.
  @Test(arguments: Kernels.variants, [0.9, 0.3]) func `ten steps of AdamW`(variant: String, beta1: Double) {
    TrainingKernelTests.each(variant, seed: 41) { count, side, numbers in
      let start = numbers.floats(count)
      let zeros = [Float](repeating: 0, count: count)
      let w = GuardedMemory(start, side)
      let (m, v) = (GuardedMemory(zeros, side), GuardedMemory(zeros, side))
      var (exactW, exactM, exactV) = (start.map(Double.init), zeros.map(Double.init), zeros.map(Double.init))
      var (power1, power2) = (1.0, 1.0)
      for _ in 1...10 {
        let gradients = numbers.floats(count, scale: 0.1)
        let gradient = GuardedMemory(gradients, side)
        power1 *= beta1
        power2 *= 0.999
        var step = lmoe_adamw_step(
          rate: 1e-2, beta1: beta1, beta2: 0.999, epsilon: 1e-8, decay: 0.1, correction1: 1 - power1,
          correction2: 1 - power2, gradient_scale: 0.5)
        lmoe_adamw(w.base, m.base, v.base, gradient.base, count, &step)
        #expect(gradient.array == gradients)
        for i in 0..<count {
          let g = Double(gradients[i]) * 0.5
          exactW[i] *= 1 - 1e-2 * 0.1
          exactM[i] = beta1 * exactM[i] + (1 - beta1) * g
          exactV[i] = 0.999 * exactV[i] + (1 - 0.999) * g * g
          exactW[i] -= 1e-2 / (1 - power1) * exactM[i] / ((exactV[i] / (1 - power2)).squareRoot() + 1e-8)
        }
      }
      #expect(TrainingKernelTests.difference(w.array, exactW) <= 1e-6)
      #expect(TrainingKernelTests.difference(m.array, exactM) <= 1e-8)
      #expect(TrainingKernelTests.error(v.array, exactV) <= 1e-6)
    }
  }

  static func mask(_ count: Int, key: UInt64, first: UInt64 = 0, p: Float) -> [Float] {
    var out = [Float](repeating: 1, count: count)
    lmoe_dropout(out, count, key, first, p, &out)
    return out
  }

  static func kept(_ mask: [Float]) -> [Bool] { mask.map { $0 != 0 } }

  @Test func `the mask is the same in all variants`() {
    let masks = Kernels.variants.map { variant in
      Kernels.with(variant) {
        [UInt64(0), 5, 1 << 32 - 1000, 1 << 40 - 77, .max - 2000].map {
          Self.kept(Self.mask(2001, key: 0x1234_5678_9ABC_DEF0, first: $0, p: 0.3))
        }
      }
    }
    #expect(masks.allSatisfy { $0 == masks[0] })
    // And in every version of the program: a run that is taken up again must find the same ones.
    let first = masks[0][0].prefix(64).reduce(UInt64(0)) { $0 << 1 | ($1 ? 1 : 0) }
    #expect(first == 12_894_926_649_613_595_501)
  }

  @Test(arguments: Kernels.variants, [Float(0.05), 0.1, 0.5, 0.9]) func `how many are kept`(
    variant: String, p: Float
  ) {
    Kernels.with(variant) {
      let count = 1_000_000
      let sigma = (Double(p) * Double(1 - p) / Double(count)).squareRoot()
      for key in [UInt64(0), 1, .max] {
        let mask = Self.mask(count, key: key, p: p)
        let share = Double(mask.count { $0 != 0 }) / Double(count)
        #expect(abs(share - Double(1 - p)) <= 3 * sigma, "key \(key): \(share)")
        let factor = Float(1 / (1 - Double(p)))
        #expect(mask.allSatisfy { $0 == 0 || $0 == factor })
      }
    }
  }

  /// Two keys, what lies 2^32 on, a mask and itself some places on: all agree as often as chance has it.
  @Test func `masks are independent`() {
    let count = 1 << 18
    let keys: [UInt64] = [0, 1, 2, 3, 1 << 32, 1 << 63, .max]
    var masks = keys.map { Self.kept(Self.mask(count, key: $0, p: 0.5)) }
    masks += [1 << 32, 1 << 33].map { Self.kept(Self.mask(count, key: 0, first: $0, p: 0.5)) }
    func agrees(_ a: some Sequence<Bool>, _ b: some Sequence<Bool>) -> Bool {
      var (same, all) = (0.0, 0.0)
      for (x, y) in zip(a, b) {
        all += 1
        if x == y { same += 1 }
      }
      // Of some hundred pairs none is more than five sigma away by chance.
      return abs(same / all - 0.5) <= 5 * (0.25 / all).squareRoot()
    }
    for (index, mask) in masks.enumerated() {
      for other in masks[..<index] { #expect(agrees(mask, other)) }
      for distance in [1, 2, 3, 4, 8, 16, 64, 576, 1024, 65536] {
        #expect(agrees(mask, mask.dropFirst(distance)), "\(index), \(distance) on")
      }
    }
  }

  @Test(arguments: Kernels.variants) func `dropout of a range is that of the whole`(variant: String) {
    TrainingKernelTests.each(variant, seed: 42) { count, side, numbers in
      let starts: [UInt64] = [0, 1 << 32 - 20, .max - 4097]
      let first = starts[numbers.integer(0...2)]
      let whole = Self.mask(count, key: 9, first: first, p: 0.25)
      let values = numbers.floats(count)
      let x = GuardedMemory(values, side)
      let out = GuardedMemory([Float](repeating: 7, count: count), side)
      lmoe_dropout(x.base, count, 9, first, 0.25, out.base)
      let exact = zip(values, whole).map { $0 * $1 }
      #expect(out.array == exact && x.array == values)
      let cut = numbers.integer(0...count)
      lmoe_dropout(x.base, cut, 9, first, 0.25, x.base)
      lmoe_dropout(x.base + cut, count - cut, 9, first + UInt64(cut), 0.25, x.base + cut)
      #expect(x.array == exact, "cut at \(cut) of \(count)")
      // The gradient goes through the same mask, and is added.
      let d = GuardedMemory(values, side)
      let sum = GuardedMemory([Float](repeating: 0.5, count: count), side)
      lmoe_dropout_backward(d.base, count, 9, first, 0.25, sum.base)
      #expect(TrainingKernelTests.difference(sum.array, exact.map { Double($0) + 0.5 }) <= 2e-7)
      #expect(zip(sum.array, whole).allSatisfy { $1 != 0 || $0 == 0.5 } && d.array == values)
    }
  }

  @Test(arguments: Kernels.variants) func `dropout of nothing, of all, and of what is no number`(
    variant: String
  ) {
    Kernels.with(variant) {
      #expect(Self.mask(1000, key: 3, p: 0).allSatisfy { $0 == 1 })
      #expect(Self.mask(1000, key: 3, p: 1).allSatisfy { $0 == 0 })
      var bad = [Float](repeating: .nan, count: 100)
      lmoe_dropout(bad, 100, 3, 0, 0.5, &bad)
      #expect(bad.allSatisfy { $0.isNaN })
    }
  }
}
