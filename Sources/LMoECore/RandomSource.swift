#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// A seeded source of random numbers: xoshiro256** (Blackman and Vigna), its state filled by SplitMix64.
///
/// The same seed gives the same numbers, on every machine and in every version of the tool: what it fills is
/// recorded by its seed. Normal numbers may differ in their last digit where the C library's logarithm does.
/// It is not for secrets.
public struct RandomSource: RandomNumberGenerator, Sendable {
  private var state: (UInt64, UInt64, UInt64, UInt64)
  /// The other half of the last pair of normal numbers.
  private var spare: Double?

  /// Starts the sequence of `seed`.
  public init(seed: UInt64) {
    var seed = seed
    state = (
      Self.splitMix(&seed), Self.splitMix(&seed), Self.splitMix(&seed), Self.splitMix(&seed)
    )
  }

  /// The next number of the sequence: 64 random bits.
  public mutating func next() -> UInt64 {
    let result = Self.rotated(state.1 &* 5, by: 7) &* 9
    let shifted = state.1 << 17
    state.2 ^= state.0
    state.3 ^= state.1
    state.1 ^= state.2
    state.0 ^= state.3
    state.2 ^= shifted
    state.3 = Self.rotated(state.3, by: 45)
    return result
  }

  /// A number in [0, 1), one of 2⁵³ that are equally far apart.
  public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// A number of the normal distribution with mean 0 and variance 1, by the method of Box and Muller.
  ///
  /// Two come from two uniform numbers, cosine first, and the second waits for the next call.
  public mutating func normal() -> Double {
    if let other = spare {
      spare = nil
      return other
    }
    // In (0, 1]: its logarithm is finite.
    let radius = (-2 * log(1 - uniform())).squareRoot()
    let angle = 2 * Double.pi * uniform()
    spare = radius * sin(angle)
    return radius * cos(angle)
  }

  private static func splitMix(_ seed: inout UInt64) -> UInt64 {
    seed &+= 0x9E37_79B9_7F4A_7C15
    var word = seed
    word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
    return word ^ (word >> 31)
  }

  private static func rotated(_ word: UInt64, by bits: UInt64) -> UInt64 {
    word << bits | word >> (64 - bits)
  }
}
