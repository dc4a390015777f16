private import CLMoEKernels

/// XXH3 hashes (seed 0) of bytes: they detect damage, not forgery.
public enum Checksum {
  /// XXH3-64 of `bytes`.
  @unsafe public static func hash64(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    unsafe lmoe_xxh3_64(bytes.baseAddress, bytes.count)
  }

  /// XXH3-64 of `bytes`.
  public static func hash64(_ bytes: [UInt8]) -> UInt64 {
    unsafe bytes.withUnsafeBytes { unsafe hash64($0) }
  }

  /// XXH3-128 of `bytes`.
  @unsafe public static func hash128(_ bytes: UnsafeRawBufferPointer) -> Bits128 {
    let pair = unsafe lmoe_xxh3_128(bytes.baseAddress, bytes.count)
    return Bits128(high: pair.high, low: pair.low)
  }

  /// XXH3-128 of `bytes`.
  public static func hash128(_ bytes: [UInt8]) -> Bits128 {
    unsafe bytes.withUnsafeBytes { unsafe hash128($0) }
  }
}

/// A streaming XXH3, for both widths.
///
/// Not for use from two threads at once.
@safe public final class StreamingHash: @unchecked Sendable {
  private let state: OpaquePointer

  /// Starts with no bytes.
  public init() { unsafe state = lmoe_xxh3_create() }

  deinit { unsafe lmoe_xxh3_free(state) }

  /// Forgets all bytes so far.
  public func reset() { unsafe lmoe_xxh3_reset(state) }

  /// Takes `bytes` in.
  @unsafe public func update(_ bytes: UnsafeRawBufferPointer) {
    unsafe lmoe_xxh3_update(state, bytes.baseAddress, bytes.count)
  }

  /// Takes `bytes` in.
  public func update(_ bytes: [UInt8]) { unsafe bytes.withUnsafeBytes { unsafe update($0) } }

  /// The 64-bit hash of all bytes so far.
  public var digest64: UInt64 { unsafe lmoe_xxh3_digest64(state) }

  /// The 128-bit hash of all bytes so far.
  public var digest: Bits128 {
    let pair = unsafe lmoe_xxh3_digest(state)
    return Bits128(high: pair.high, low: pair.low)
  }
}
