#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// Nanoseconds of a clock that only goes forward: for durations.
@Sendable public func monotonicNanoseconds() -> UInt64 {
  var time = timespec()
  guard unsafe clock_gettime(CLOCK_MONOTONIC, &time) == 0 else { return 0 }
  return UInt64(max(0, time.tv_sec)) * 1_000_000_000 + UInt64(max(0, time.tv_nsec))
}

/// Nanoseconds since 1970-01-01 UTC.
@Sendable public func currentNanoseconds() -> UInt64 {
  var time = timespec()
  guard unsafe clock_gettime(CLOCK_REALTIME, &time) == 0 else { return 0 }
  return UInt64(max(0, time.tv_sec)) * 1_000_000_000 + UInt64(max(0, time.tv_nsec))
}
