import CLMoEKernels

/// The kernels that this processor can run.
enum Kernels {
  static let variants = ["portable", "avx2", "avx512", "avx512vnni"].filter { name in
    defer { lmoe_select_kernels(nil) }
    return lmoe_select_kernels(name) == 1
  }

  /// Runs `body` with those kernels; they are the calling thread's alone.
  static func with<Result>(_ name: String, _ body: () throws -> Result) rethrows -> Result {
    precondition(lmoe_select_kernels(name) == 1)
    defer { lmoe_select_kernels(nil) }
    return try body()
  }
}

/// Numbers that look random, and are the same each time.
struct Numbers {
  private var state: UInt64

  init(_ seed: Int) { state = UInt64(truncatingIfNeeded: seed) &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678 }

  private mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state >> 33
  }

  mutating func integer(_ range: ClosedRange<Int>) -> Int {
    range.lowerBound + Int(next() % UInt64(range.count))
  }
  /// Between −1 and 1.
  mutating func float() -> Float { Float(next() & 0xFF_FFFF) / Float(0x80_0000) - 1 }
  mutating func floats(_ count: Int, scale: Float = 1) -> [Float] { (0..<count).map { _ in float() * scale } }
}

/// A float type of weights, and its bytes.
enum WeightKind: CaseIterable {
  case f32, f16, bf16

  var code: Int32 {
    switch self {
    case .f32: Int32(LMOE_F32)
    case .f16: Int32(LMOE_F16)
    case .bf16: Int32(LMOE_BF16)
    }
  }

  /// What an element of those bits stands for.
  func value(_ bits: UInt32) -> Float {
    switch self {
    case .f32: Float(bitPattern: bits)
    case .bf16: Float(bitPattern: bits << 16)
    case .f16: Self.half(bits)
    }
  }

  /// Bits of finite numbers near 1, and some far smaller.
  func bits(_ numbers: inout Numbers) -> UInt32 {
    let value = numbers.float() * (numbers.integer(0...9) == 0 ? 1e-5 : 1)
    switch self {
    case .f32: return value.bitPattern
    case .bf16: return value.bitPattern >> 16
    // Sign, an exponent up to that of 1, any fraction: subnormals too.
    case .f16: return UInt32(numbers.integer(0...1) << 15 | numbers.integer(0...0x3C00))
    }
  }

  /// The elements as they are stored.
  func bytes(_ bits: [UInt32]) -> [UInt8] {
    bits.flatMap { bits in (0..<(self == .f32 ? 4 : 2)).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) } }
  }

  private static func half(_ bits: UInt32) -> Float {
    let sign: Float = bits & 0x8000 == 0 ? 1 : -1
    let (exponent, fraction) = (Int(bits >> 10 & 31), Float(bits & 0x3FF))
    if exponent == 31 { return fraction == 0 ? sign * .infinity : .nan }
    if exponent == 0 { return sign * fraction * 0x1p-24 }
    return sign * Float(sign: .plus, exponent: exponent - 15, significand: 1 + fraction / 1024)
  }
}
