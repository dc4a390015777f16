import LMoECore
import Testing

/// The seeded source of random numbers.
@Suite struct RandomSourceTests {
  /// The first numbers of the published generators: xoshiro256** on a state that SplitMix64 fills.
  static let sequences: [UInt64: [UInt64]] = [
    0: [0x99ec_5f36_cb75_f2b4, 0xbf6e_1f78_4956_452a, 0x1a5f_849d_4933_e6e0, 0x6aa5_94f1_262d_2d2c],
    42: [0x1578_0b2e_0c2e_c716, 0x6104_d986_6d11_3a7e, 0xae17_5332_39e4_99a1, 0xecb8_ad47_03b3_60a1],
    .max: [0x8f55_20d5_2a7e_ad08, 0xc476_a018_caa1_802d, 0x81de_31c0_d260_469e, 0xbf65_8d7e_065f_3c2f],
  ]

  @Test func `the sequence of a seed`() {
    for (seed, expected) in Self.sequences {
      var source = RandomSource(seed: seed)
      #expect((0..<4).map { _ in source.next() } == expected)
    }
  }

  @Test func `uniform and normal numbers of a seed`() {
    var source = RandomSource(seed: 42)
    let uniform = (0..<2).map { _ in source.uniform() }
    #expect(uniform == [0.08386297105988216, 0.3789802506626686])
    source = RandomSource(seed: 42)
    for expected in [-0.303263064678738, 0.28846173882942383] {
      #expect(abs(source.normal() - expected) < 1e-15)
    }
    // Two uniform numbers were used, and no more.
    #expect(source.uniform() == 0.6800434110281394)
  }

  @Test func `how the numbers are distributed`() {
    var source = RandomSource(seed: 7)
    let count = 200_000
    let uniform = (0..<count).map { _ in source.uniform() }
    #expect(uniform.allSatisfy { (0..<1).contains($0) })
    #expect(abs(uniform.reduce(0, +) / Double(count) - 0.5) < 0.003)
    let normal = (0..<count).map { _ in source.normal() }
    func moment(_ power: Int) -> Double {
      normal.reduce(0) { sum, value in sum + (0..<power).reduce(1) { product, _ in product * value } }
        / Double(count)
    }
    #expect(abs(moment(1)) < 0.01 && abs(moment(2) - 1) < 0.015)
    #expect(abs(moment(3)) < 0.03 && abs(moment(4) - 3) < 0.1)
    let neighbours = zip(normal, normal.dropFirst()).reduce(0) { $0 + $1.0 * $1.1 } / Double(count)
    #expect(abs(neighbours) < 0.01, "the two of a pair have nothing to do with each other")
  }
}
